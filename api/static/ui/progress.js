// How far a job is: one bar, the numbers beside it, and what screen readers are told.

import { el, say, toggle } from "../dom.js";
import { bytes, duration, number, percent } from "../format.js";
import { t } from "../i18n/index.js";

/** Screen readers hear of every tenth. */
const STEPS = 10;

/** Make the display; `show(job, session)` brings it up to date. */
export function makeProgress() {
  const good = el("span", { class: "bar-good" });
  const bad = el("span", { class: "bar-bad" });
  const bar = el("div", { class: "bar", role: "progressbar", "aria-label": t("job.progress"), "aria-valuemin": "0", "aria-valuemax": "100" }, good, bad);
  const line = el("p", { class: "progress-line" });
  const facts = Object.fromEntries(["done", "failed", "rate", "left"].map((name) => [name, makeFact(name)]));
  const spoken = el("p", { class: "visually-hidden", role: "status" });
  const element = el("div", { class: "progress" }, line, bar,
    el("dl", { class: "facts" }, ...Object.values(facts).map(({ element }) => element)), spoken);
  let told = "";

  const show = (job, session) => {
    const sending = job.state === "uploading" && session;
    const share = sending ? sentShare(session) : job.state === "uploading" ? 0 : job.progress;
    say(line, sending ? t(`upload.${session.state}`) : t(`state.${isGathering(job) ? "gathering" : job.state}_line`));
    element.dataset.state = job.state;
    fillBar(job, share, sending);
    if (sending) showSending(session);
    else showWork(job);
    tell(`${line.textContent} ${percent(Math.floor(STEPS * share) / STEPS)}`);
  };

  const fillBar = ({ counts, state }, share, sending) => {
    const failed = sending || counts.total === 0 ? 0 : (counts.failed / counts.total) * share;
    good.style.setProperty("width", `${100 * (share - failed)}%`);
    bad.style.setProperty("width", `${100 * failed}%`);
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    bar.setAttribute("aria-valuetext", percent(Math.floor(100 * share) / 100));
    bar.dataset.kind = sending ? "sending" : state;
  };

  const showSending = (session) => {
    const { speed } = session;
    facts.done.show(t("facts.of", { count: session.sent.size, total: session.files.size }), t("facts.sent"));
    facts.failed.show(session.givenUp.size > 0 ? number(session.givenUp.size) : null, t("facts.not_sent"));
    facts.rate.show(t("facts.of_bytes", { sent: bytes(session.bytes), total: bytes(session.totalBytes) }), t("facts.data"));
    const left = speed && session.state === "sending" ? (session.totalBytes - session.bytes) / speed : null;
    facts.left.show(left === null ? null : duration(left), t("facts.left"));
  };

  const showWork = ({ counts, images_per_second: rate, eta_seconds: left, started_at: began, ended_at: ended }) => {
    // Of an archive that is being unpacked nobody knows yet how many photos it holds.
    facts.done.show(counts.total > 0 ? t("facts.of", { count: counts.succeeded, total: counts.total }) : null, t("facts.done"));
    facts.failed.show(counts.failed > 0 ? number(counts.failed) : null, t("facts.failed"));
    const took = ended && began ? (new Date(ended) - new Date(began)) / 1000 : null;
    facts.rate.show(rate && !ended ? t("facts.per_second", { rate: number(rate, rate < 10 ? 1 : 0) }) : null, t("facts.rate"));
    if (took === null) facts.left.show(left ? duration(left) : null, t("facts.left"));
    else facts.left.show(duration(took), t("facts.took"));
  };

  const tell = (text) => {
    if (text === told) return;
    told = text;
    say(spoken, text);
  };
  return { element, show };
}

/** True while the server itself fetches or unpacks the photos. */
function isGathering({ state, links }) {
  return state === "uploading" && !links.uploads;
}

function makeFact(name) {
  const value = el("dd", {});
  const label = el("dt", {});
  const element = el("div", { class: `fact fact-${name}`, hidden: true }, value, label);
  return {
    element,
    show: (text, title) => {
      toggle(element, text !== null);
      if (text !== null) say(value, text);
      say(label, title);
    },
  };
}

function sentShare(session) {
  return session.totalBytes === 0 ? session.sent.size / Math.max(1, session.files.size) : session.bytes / session.totalBytes;
}
