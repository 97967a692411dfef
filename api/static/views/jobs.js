// All jobs, the newest first.

import { RequestError, ask, paths } from "../api.js";
import { el, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { textOf } from "../ui/errors.js";
import { JobCard } from "../ui/job_card.js";

const PAGE = 24;
/** Milliseconds between two requests for the newest jobs. */
const PACE = 4000;

/** Show the jobs in `main`; return the function that closes it. */
export function open(main, _, { title, scrolled }) {
  title(t("jobs.title"));
  const view = new JobsView();
  main.append(view.element);
  view.load().then(scrolled);
  return () => view.close();
}

class JobsView {
  constructor() {
    /** @type {Map<string, JobCard>} */
    this.cards = new Map();
    /** @type {string | null} */
    this.cursor = null;
    /** @type {number | undefined} */
    this.timer = undefined;
    this.closed = false;
    this.list = el("ul", { class: "jobs", role: "list" });
    this.more = el("button", { type: "button", class: "button", hidden: true, onclick: () => this.load() }, t("jobs.more"));
    this.alert = el("p", { class: "problem", role: "alert", hidden: true });
    this.empty = el("div", { class: "empty", hidden: true },
      el("p", {}, t("jobs.none")), el("a", { class: "button primary", href: "/" }, t("nav.new")));
    this.element = el("div", { class: "narrow wide" },
      el("h1", { tabindex: "-1" }, t("jobs.title")), this.alert, this.list, this.empty, el("p", { class: "more" }, this.more));
  }

  /** Show the next page of jobs. */
  async load() {
    this.more.disabled = true;
    const query = this.cursor === null ? { limit: PAGE } : { limit: PAGE, cursor: this.cursor };
    await this.#look(query, (next) => {
      this.cursor = next;
      toggle(this.more, next !== null);
    });
    this.more.disabled = false;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async #look(query, onCursor = (/** @type {string | null} */ _) => {}) {
    try {
      const page = await ask(paths.jobsPage(query));
      if (this.closed) return;
      for (const job of page.jobs) this.#add(job);
      onCursor(page.next_cursor);
      toggle(this.empty, this.cards.size === 0);
      this.#showProblem(null);
      this.#plan();
    } catch (error) {
      this.#showProblem(error);
      if (error instanceof RequestError && error.passing) this.#plan();
    }
  }

  /** Fetch the newest jobs again later, because some may be new or have changed. */
  #plan() {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.timer = setTimeout(() => (document.hidden ? this.#plan() : this.#look({ limit: PAGE })), PACE);
  }

  #add(job) {
    const known = this.cards.get(job.id);
    if (known) return known.show(job);
    const card = new JobCard(job);
    // Keep the list sorted, the newest first.
    const next = [...this.cards.values()].find((other) => other.job.created_at < job.created_at);
    this.list.insertBefore(card.element, next?.element ?? null);
    this.cards.set(job.id, card);
  }

  #showProblem(/** @type {unknown} */ error) {
    toggle(this.alert, error !== null);
    if (error !== null) this.alert.textContent = textOf(error);
  }
}
