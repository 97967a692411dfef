// A job: how far it is, what can be done to it, and all its photos.

import { el, icon, say, toggle } from "../dom.js";
import { moment, percent } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { jobModel } from "../model/job_model.js";
import { ENDS, toneOf } from "../model/states.js";
import { reasonOf, textOf } from "../ui/errors.js";
import { summaryOf } from "../ui/options.js";
import { ASPECT, makePhotoCell } from "../ui/photo_cell.js";
import { makeProgress } from "../ui/progress.js";
import { makeToolbar } from "../ui/toolbar.js";
import { makeUploadPanel } from "../ui/upload_panel.js";
import { VirtualGrid } from "../ui/virtual_grid.js";
import { sessionOf } from "../uploads/session.js";
import { nameOfJob } from "../model/names.js";

const CELL = { ratio: 1 / ASPECT, extra: 30, gap: 12 };
/** Least width of a cell, in pixels: a few photos are shown larger than many. */
const [FEW, LARGE, SMALL] = [30, 220, 168];

/** Show a job in `main`; returns the function that ends it. */
export function open(main, { id }, { go, title, scrolled, redraw }) {
  const model = jobModel(id);
  const session = sessionOf(id);
  const heading = el("h1", { tabindex: "-1", class: "job-title skeleton" }, "\u00a0");
  const pill = el("span", { class: "pill", hidden: true });
  const about = el("p", { class: "hint job-about" }, "\u00a0");
  const alert = el("p", { class: "problem", role: "alert", hidden: true });
  const failure = el("p", { class: "problem", hidden: true });
  const progress = makeProgress();
  const toolbar = makeToolbar(id, act);
  const uploads = makeUploadPanel(model, session, redraw);
  const filter = makeFilter(showFilter);
  const empty = el("p", { class: "hint empty", hidden: true });
  const grid = new VirtualGrid({
    label: t("job.photos"), hint: "grid-hint", ...CELL, minWidth: (count) => (count <= FEW ? LARGE : SMALL), make: makeCell, onRange: want,
  });
  const body = el("div", { class: "job-body", hidden: true },
    el("div", { class: "card job-card" }, progress.element, toolbar.element), uploads.element,
    filter.element, el("p", { id: "grid-hint", class: "visually-hidden" }, t("job.grid_hint")), grid.element, empty);
  main.append(el("div", { class: "job" },
    el("header", { class: "job-head" }, el("div", { class: "job-line" }, heading, pill), about), alert, failure, body));

  let failedOnly = new URLSearchParams(location.search).get("show") === "failed";
  let shownCount = -1;

  async function act(what) {
    try {
      if (what === "delete" || what === "cancel") session?.drop();
      if (what !== "delete") return await model.control(what);
      await model.remove();
      go("/jobs");
    } catch (error) {
      showProblem(error);
    }
  }

  function makeCell(index) {
    const find = () => (failedOnly ? model.failures[index] : model.image(index));
    return makePhotoCell({ model, find, session, onOpen: (event) => openPhoto(event, find()) });
  }

  function openPhoto(event, image) {
    if (!image || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(`/jobs/${id}/photos/${image.index}`);
  }

  function want(first, last) {
    if (!failedOnly) model.want(first, last);
    else if (last >= model.failures.length && model.failures.length < model.job.counts.failed) model.moreFailures();
  }

  function showJob() {
    const { job } = model;
    // Whoever ended it elsewhere wants no more photos sent.
    if (session?.state === "sending" && (job.state === "canceling" || ENDS.has(job.state))) session.drop();
    const { name, dated } = nameOfJob(job);
    heading.classList.remove("skeleton");
    heading.replaceChildren(dated ? name : el("bdi", {}, name));
    title(ENDS.has(job.state) ? name : `${percent(Math.floor(100 * job.progress) / 100)} · ${name}`);
    pill.dataset.tone = toneOf(job.state);
    say(pill, t(`state.${job.state}`));
    toggle(pill, true);
    say(about, [dated ? null : moment(job.created_at), summaryOf(job.options)].filter(Boolean).join(" · "));
    toggle(failure, job.error !== null);
    if (job.error) failure.replaceChildren(icon(ICONS.warning), reasonOf(job.error));
    toggle(body, true);
    progress.show(job, session);
    toolbar.show(job);
    uploads.show(job);
    filter.show(job, failedOnly);
    showCount();
  }

  function showCount() {
    const { counts } = model.job;
    const count = failedOnly ? counts.failed : counts.total;
    toggle(empty, count === 0);
    say(empty, t(failedOnly ? "job.none_failed" : "job.no_photos"));
    if (count === shownCount) return grid.update();
    const first = shownCount < 0;
    shownCount = count;
    grid.show(count, { anew: failedOnly });
    if (first) scrolled();
  }

  function showFilter(only) {
    if (only === failedOnly) return;
    failedOnly = only;
    shownCount = -1;
    history.replaceState(history.state, "", only ? "?show=failed" : location.pathname);
    filter.show(model.job, failedOnly);
    shownCount = failedOnly ? model.job.counts.failed : model.job.counts.total;
    toggle(empty, shownCount === 0);
    say(empty, t(failedOnly ? "job.none_failed" : "job.no_photos"));
    grid.show(shownCount, { anew: true });
  }

  function showProblem(error) {
    toggle(alert, error !== null);
    if (error === null) return;
    if (!model.job) {
      heading.classList.remove("skeleton");
      say(heading, t("job.not_shown"));
      say(about, "");
    }
    alert.replaceChildren(icon(ICONS.warning), textOf(error));
  }

  const listening = new AbortController();
  const listen = (target, kind, listener) => target?.addEventListener(kind, listener, { signal: listening.signal });
  listen(model, "job", showJob);
  listen(model, "images", () => grid.update());
  listen(model, "error", () => showProblem(model.error));
  listen(session, "progress", throttle(() => model.job && (progress.show(model.job, session), grid.update())));
  listen(session, "change", () => {
    if (session.state === "done") model.live?.refresh();
    if (model.job) showJob();
  });
  const unwatch = model.watch();
  if (model.job) showJob();
  return () => {
    listening.abort();
    unwatch();
    uploads.close();
    grid.close();
  };
}

/** Let at most one call through for every frame that is painted. */
function throttle(call) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      call();
    });
  };
}

function makeFilter(onChange) {
  const button = (only, label) => el("button", { type: "button", class: "tab", "aria-pressed": "false", onclick: () => onChange(only) }, label);
  const count = { all: el("span", { class: "count" }), failed: el("span", { class: "count" }) };
  const all = button(false, t("job.all"));
  const failed = button(true, t("job.failed"));
  all.append(count.all);
  failed.append(count.failed);
  return {
    element: el("div", { class: "tabs", role: "group", "aria-label": t("job.filter") }, all, failed),
    show: ({ counts }, only) => {
      all.setAttribute("aria-pressed", String(!only));
      failed.setAttribute("aria-pressed", String(only));
      say(count.all, t("count", { count: counts.total }));
      say(count.failed, t("count", { count: counts.failed }));
      failed.toggleAttribute("data-alert", counts.failed > 0);
    },
  };
}
