// The progress of a job: a bar, numbers, and a line for screen readers.

import { el, say, toggle } from "../dom.js";
import { bytes, duration, number, percent } from "../format.js";
import { t } from "../i18n/index.js";
import { takesUploads } from "../model/states.js";

/** @import { Job } from "../api.js" */
/** @import { UploadSession } from "../uploads/upload_session.js" */

/** Screen readers announce every tenth. */
const STEPS = 10;

export class Progress {
  constructor() {
    this.good = el("span", { class: "bar-good" });
    this.bad = el("span", { class: "bar-bad" });
    this.bar = el("div", {
      class: "bar", role: "progressbar", "aria-label": t("job.progress"), "aria-valuemin": "0", "aria-valuemax": "100",
    }, this.good, this.bad);
    this.line = el("p", { class: "progress-line" });
    this.facts = Object.fromEntries(["done", "failed", "rate", "left"].map((name) => [name, new Fact(name)]));
    this.spoken = el("p", { class: "visually-hidden", role: "status" });
    this.element = el("div", { class: "progress" }, this.line, this.bar,
      el("dl", { class: "facts" }, ...Object.values(this.facts).map(({ element }) => element)), this.spoken);
  }

  /** Show the current progress. `session` is the job's upload session on this page, or null. */
  show(/** @type {Job} */ job, /** @type {UploadSession | null} */ session) {
    const sending = job.state === "uploading" ? session : null;
    const share = shareOf(job, sending);
    say(this.line, sending ? t(`upload.${sending.state}`) : t(`state.${job.state === "uploading" && !takesUploads(job) ? "gathering" : job.state}_line`));
    this.#fill(job, share, sending !== null);
    if (sending) this.#showSending(sending);
    else this.#showWork(job);
    say(this.spoken, `${this.line.textContent} ${percent(Math.floor(STEPS * share) / STEPS)}`);
  }

  #fill({ counts, state }, share, sending) {
    const failed = sending || counts.total === 0 ? 0 : (counts.failed / counts.total) * share;
    this.good.style.setProperty("width", `${100 * (share - failed)}%`);
    this.bad.style.setProperty("width", `${100 * failed}%`);
    this.bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    this.bar.setAttribute("aria-valuetext", percent(Math.floor(100 * share) / 100));
    this.bar.dataset.kind = sending ? "sending" : state;
  }

  #showSending(session) {
    const { done, failed, rate, left } = this.facts;
    const seconds = session.speed && session.state === "sending" ? (session.totalBytes - session.bytes) / session.speed : null;
    done.show(t("facts.of", { count: session.sent.size, total: session.files.size }), t("facts.sent"));
    failed.show(session.givenUp.size > 0 ? number(session.givenUp.size) : null, t("facts.not_sent"));
    rate.show(t("facts.of_bytes", { sent: bytes(session.bytes), total: bytes(session.totalBytes) }), t("facts.data"));
    left.show(seconds === null ? null : duration(seconds), t("facts.left"));
  }

  #showWork({ counts, images_per_second: speed, eta_seconds: seconds, started_at: began, ended_at: ended }) {
    const { done, failed, rate, left } = this.facts;
    // While an archive is being unpacked, the number of its photos is unknown.
    done.show(counts.total > 0 ? t("facts.of", { count: counts.succeeded, total: counts.total }) : null, t("facts.done"));
    failed.show(counts.failed > 0 ? number(counts.failed) : null, t("facts.failed"));
    rate.show(speed && !ended ? t("facts.per_second", { rate: number(speed, speed < 10 ? 1 : 0) }) : null, t("facts.rate"));
    if (ended && began) left.show(duration((Date.parse(ended) - Date.parse(began)) / 1000), t("facts.took"));
    else left.show(seconds ? duration(seconds) : null, t("facts.left"));
  }
}

class Fact {
  constructor(name) {
    this.value = el("dd", {});
    this.label = el("dt", {});
    this.element = el("div", { class: `fact fact-${name}`, hidden: true }, this.value, this.label);
  }

  /** Show a value and its label; null hides both. */
  show(text, title) {
    toggle(this.element, text !== null);
    if (text !== null) say(this.value, text);
    say(this.label, title);
  }
}

function shareOf(job, sending) {
  if (job.state !== "uploading") return job.progress;
  if (sending === null) return 0;
  const { totalBytes, bytes, sent, files } = sending;
  return totalBytes === 0 ? sent.size / Math.max(1, files.size) : bytes / totalBytes;
}
