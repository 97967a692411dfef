// All jobs, the newest first.

import { ask, paths } from "../api.js";
import { el, nameOf, toggle } from "../dom.js";
import { moment } from "../format.js";
import { t } from "../i18n/index.js";
import { nameOfJob } from "../model/names.js";
import { MOVING, toneOf } from "../model/states.js";
import { textOf } from "../ui/errors.js";
import { showPair } from "../ui/pair.js";

const PAGE = 24;
/** Milliseconds between two looks at the newest jobs. */
const PACE = 4000;
/** Photos of a job that its card shows. */
const SHOWN = 3;

/** Show the jobs in `main`; returns the function that ends it. */
export function open(main, _, { title, scrolled }) {
  title(t("jobs.title"));
  const list = el("ul", { class: "jobs", role: "list" });
  const more = el("button", { type: "button", class: "button", hidden: true, onclick: () => load() }, t("jobs.more"));
  const alert = el("p", { class: "problem", role: "alert", hidden: true });
  const empty = el("div", { class: "empty", hidden: true },
    el("p", {}, t("jobs.none")), el("a", { class: "button primary", href: "/" }, t("nav.new")));
  main.append(el("div", { class: "narrow wide" }, el("h1", { tabindex: "-1" }, t("jobs.title")), alert, list, empty, el("p", { class: "more" }, more)));
  const cards = new Map();
  let cursor = null;
  let timer = null;
  let closed = false;

  async function load() {
    more.disabled = true;
    try {
      const query = new URLSearchParams({ limit: PAGE, ...(cursor === null ? {} : { cursor }) });
      const page = await ask(`${paths.jobs}?${query}`);
      if (closed) return;
      page.jobs.forEach(add);
      cursor = page.next_cursor;
      toggle(more, cursor !== null);
      toggle(empty, cards.size === 0);
      toggle(alert, false);
      plan();
    } catch (error) {
      showProblem(error);
    } finally {
      more.disabled = false;
    }
  }

  function add(job) {
    const known = cards.get(job.id);
    if (known) return known.show(job);
    const card = makeCard(job);
    cards.set(job.id, card);
    // The newest is the first; those of an older page come after all there are.
    const next = [...cards.values()].find((other) => other.job.created_at < job.created_at);
    list.insertBefore(card.element, next?.element ?? null);
  }

  function plan() {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(look, PACE);
  }

  /** Look again at the newest jobs: some may be new, some have moved on. */
  async function look() {
    try {
      if (!document.hidden) (await ask(`${paths.jobs}?limit=${PAGE}`)).jobs.forEach(add);
      toggle(empty, cards.size === 0);
      toggle(alert, false);
    } catch (error) {
      showProblem(error);
      if (!error.passing) return;
    }
    plan();
  }

  function showProblem(error) {
    if (closed) return;
    toggle(alert, true);
    alert.textContent = textOf(error);
  }

  load().then(scrolled);
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}

function makeCard(job) {
  const pictures = el("div", { class: "card-pictures", "aria-hidden": "true" });
  const heading = el("h2", { class: "card-title" });
  const when = el("p", { class: "hint" });
  const pill = el("span", { class: "pill" });
  const count = el("span", { class: "card-count" });
  const fill = el("span", { class: "bar-good" });
  const bar = el("div", { class: "bar thin", "aria-hidden": "true" }, fill);
  const link = el("a", { class: "card job-link", href: `/jobs/${job.id}` }, pictures,
    el("div", { class: "card-text" }, heading, when, el("p", { class: "card-line" }, pill, count), bar));
  const card = { element: el("li", {}, link), job, show };

  function show(newer) {
    card.job = newer;
    const { name, dated } = nameOfJob(newer);
    heading.replaceChildren(dated ? name : nameOf(name));
    when.textContent = moment(newer.created_at);
    pill.dataset.tone = toneOf(newer.state);
    pill.textContent = t(`state.${newer.state}`);
    count.textContent = t("jobs.count", { count: newer.counts.succeeded, total: newer.counts.total });
    fill.style.setProperty("width", `${100 * newer.progress}%`);
    toggle(bar, MOVING.has(newer.state) || newer.state === "paused");
    showPictures(newer);
  }

  function showPictures({ id, options, counts }) {
    if (pictures.childElementCount > 0 || counts.succeeded === 0 || !options.outputs.includes("thumbnail")) return;
    // The first ones may have failed; then the next ones are there.
    ask(paths.images(id, { state: "succeeded", limit: SHOWN })).then(({ images }) => {
      pictures.replaceChildren(...images.map(({ index }) => {
        const box = el("div", { class: "card-picture" });
        showPair(box, paths.shown(id, index, "thumbnail"), { aspect: 1 });
        return box;
      }));
    }, () => {});
  }

  show(job);
  return card;
}
