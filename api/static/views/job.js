// A job: its progress, its buttons and all its photos.

import { askModels } from "../api.js";
import { el, icon, say, toggle } from "../dom.js";
import { moment, percent } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { jobModel } from "../model/job_model.js";
import { nameOfJob } from "../model/names.js";
import { ENDS, toneOf } from "../model/states.js";
import { unusual } from "../networks/choice.js";
import { reasonOf, textOf } from "../ui/errors.js";
import { JobFilter } from "../ui/job_filter.js";
import { summaryOf } from "../ui/options.js";
import { ASPECT, PhotoCell } from "../ui/photo_cell.js";
import { Progress } from "../ui/progress.js";
import { makeToolbar } from "../ui/toolbar.js";
import { makeUploadPanel } from "../ui/upload_panel.js";
import { VirtualGrid } from "../ui/virtual_grid.js";
import { sessionOf } from "../uploads/upload_session.js";

/** @import { Job, Model } from "../api.js" */

const CELL = { ratio: 1 / ASPECT, extra: 30, gap: 12 };
/** Up to FEW photos get cells at least LARGE pixels wide, more get SMALL ones. */
const [FEW, LARGE, SMALL] = [30, 220, 168];

/** Show a job in `main`; return the function that closes it. */
export function open(main, { id }, page) {
  const view = new JobView(id, page);
  main.append(view.element);
  view.begin();
  return () => view.close();
}

class JobView {
  constructor(id, page) {
    this.id = id;
    this.page = page;
    this.model = jobModel(id);
    this.session = sessionOf(id);
    this.failedOnly = new URLSearchParams(location.search).get("show") === "failed";
    /** @type {string | null} */
    this.cells = null;
    /** @type {Model[] | null} */
    this.models = null;
    this.leaving = new AbortController();
    this.unfollow = () => {};
    this.heading = el("h1", { tabindex: "-1", class: "job-title skeleton" }, "\u00a0");
    this.pill = el("span", { class: "pill", hidden: true });
    this.about = el("p", { class: "hint job-about" }, "\u00a0");
    this.alert = el("p", { class: "problem", role: "alert", hidden: true });
    this.failure = el("p", { class: "problem", hidden: true });
    this.progress = new Progress();
    this.toolbar = makeToolbar(id, (what) => this.#act(what));
    this.uploads = makeUploadPanel(this.model, this.session, page.redraw);
    this.filter = new JobFilter((only) => this.#choose(only));
    this.empty = el("p", { class: "hint empty", hidden: true });
    this.grid = this.#makeGrid();
    this.body = this.#makeBody();
    this.element = el("div", { class: "job" },
      el("header", { class: "job-head" }, el("div", { class: "job-line" }, this.heading, this.pill), this.about),
      this.alert, this.failure, this.body);
  }

  begin() {
    this.#listen();
    this.unfollow = this.model.follow();
    this.#show();
    this.#askModels();
  }

  close() {
    this.leaving.abort();
    this.unfollow();
    this.uploads.close();
    this.grid.close();
  }

  #makeGrid() {
    return new VirtualGrid({
      label: t("job.photos"), hint: "grid-hint", ...CELL,
      minWidth: (count) => (count <= FEW ? LARGE : SMALL),
      make: (index) => this.#makeCell(index),
      onRange: (first, last) => this.#want(first, last),
    });
  }

  #makeBody() {
    return el("div", { class: "job-body", hidden: true },
      el("div", { class: "card job-card" }, this.progress.element, this.toolbar.element),
      this.uploads.element, this.filter.element,
      el("p", { id: "grid-hint", class: "visually-hidden" }, t("job.grid_hint")), this.grid.element, this.empty);
  }

  #listen() {
    const { model, session, leaving: { signal } } = this;
    model.addEventListener("job", () => this.#show(), { signal });
    model.addEventListener("images", () => this.grid.update(), { signal });
    model.addEventListener("error", () => this.#showProblem(model.error), { signal });
    session?.addEventListener("progress", onceAFrame(() => this.#showSending()), { signal });
    session?.addEventListener("change", () => this.#showSent(), { signal });
  }

  /** Find out which network is the server's default, and what the others are called. */
  async #askModels() {
    const { signal } = this.leaving;
    this.models = await askModels(signal);
    if (!signal.aborted) this.#show();
  }

  async #act(what) {
    try {
      if (what === "delete" || what === "cancel") this.session?.drop();
      if (what !== "delete") return await this.model.control(what);
      await this.model.remove();
      this.page.go("/jobs");
    } catch (error) {
      this.#showProblem(error);
    }
  }

  // --- the job ---

  #show() {
    const { job } = this.model;
    if (!job) return;
    // The job was ended elsewhere, so send no more photos.
    if (this.session?.state === "sending" && (job.state === "canceling" || ENDS.has(job.state))) this.session.drop();
    this.#showHead(job);
    toggle(this.body, true);
    for (const part of [this.toolbar, this.uploads]) part.show(job);
    this.progress.show(job, this.session);
    this.filter.show(job, this.failedOnly);
    this.#showCount(job);
  }

  #showHead(/** @type {Job} */ job) {
    const { name, dated } = nameOfJob(job);
    this.heading.classList.remove("skeleton");
    this.heading.replaceChildren(dated ? name : el("bdi", {}, name));
    this.page.title(ENDS.has(job.state) ? name : `${percent(Math.floor(100 * job.progress) / 100)} · ${name}`);
    this.pill.dataset.tone = toneOf(job.state);
    say(this.pill, t(`state.${job.state}`));
    toggle(this.pill, true);
    const about = [dated ? null : moment(job.created_at), unusual(this.models, job.options.model), summaryOf(job.options)];
    say(this.about, about.filter(Boolean).join(" · "));
    toggle(this.failure, job.error !== null);
    if (job.error) this.failure.replaceChildren(icon(ICONS.warning), reasonOf(job.error));
  }

  #showProblem(error) {
    toggle(this.alert, error !== null);
    if (error === null) return;
    this.alert.replaceChildren(icon(ICONS.warning), textOf(error));
    if (this.model.job) return;
    this.heading.classList.remove("skeleton");
    say(this.heading, t("job.not_shown"));
    say(this.about, "");
  }

  #showSending() {
    if (!this.model.job || this.leaving.signal.aborted) return;
    this.progress.show(this.model.job, this.session);
    this.grid.update();
  }

  #showSent() {
    if (this.session?.state === "done") this.model.feed?.refresh();
    this.#show();
  }

  // --- its photos ---

  #choose(only) {
    const { job } = this.model;
    if (!job || only === this.failedOnly) return;
    this.failedOnly = only;
    history.replaceState(history.state, "", only ? "?show=failed" : location.pathname);
    this.filter.show(job, only);
    this.#showCount(job);
  }

  #showCount(/** @type {Job} */ { counts }) {
    const count = this.failedOnly ? counts.failed : counts.total;
    toggle(this.empty, count === 0);
    say(this.empty, t(this.failedOnly ? "job.none_failed" : "job.no_photos"));
    const [before, cells] = [this.cells, `${this.failedOnly} ${count}`];
    this.cells = cells;
    if (cells === before) return this.grid.update();
    this.grid.show(count);
    // Only now is the page long enough to scroll to where the reader was.
    if (before === null) this.page.scrolled();
  }

  #makeCell(index) {
    const { model, session } = this;
    const find = () => (this.failedOnly ? model.failures[index] : model.image(index));
    return new PhotoCell({ model, find, session });
  }

  #want(first, last) {
    const { model } = this;
    if (!this.failedOnly) model.want(first, last);
    else if (last >= model.failures.length && model.failures.length < (model.job?.counts.failed ?? 0)) model.moreFailures();
  }
}

/** Limit a function to one call per painted frame. */
function onceAFrame(call) {
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
