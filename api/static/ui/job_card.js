// A job in the list of jobs.

import { ask, paths } from "../api.js";
import { el, nameOf, say, toggle } from "../dom.js";
import { moment } from "../format.js";
import { t } from "../i18n/index.js";
import { nameOfJob } from "../model/names.js";
import { MOVING, toneOf } from "../model/states.js";
import { showPair } from "./pair.js";

/** The number of photos on a card. */
const SHOWN = 3;

export class JobCard {
  constructor(job) {
    this.pictures = el("div", { class: "card-pictures", "aria-hidden": "true" });
    this.heading = el("h2", { class: "card-title" });
    this.when = el("p", { class: "hint" });
    this.pill = el("span", { class: "pill" });
    this.count = el("span", { class: "card-count" });
    this.fill = el("span", { class: "bar-good" });
    this.bar = el("div", { class: "bar thin", "aria-hidden": "true" }, this.fill);
    const text = el("div", { class: "card-text" }, this.heading, this.when, el("p", { class: "card-line" }, this.pill, this.count), this.bar);
    this.element = el("li", {}, el("a", { class: "card job-link", href: `/jobs/${job.id}` }, this.pictures, text));
    this.show(job);
  }

  /** Show the job's current state. */
  show(job) {
    this.job = job;
    const { name, dated } = nameOfJob(job);
    this.heading.replaceChildren(dated ? name : nameOf(name));
    say(this.when, moment(job.created_at));
    this.pill.dataset.tone = toneOf(job.state);
    say(this.pill, t(`state.${job.state}`));
    say(this.count, t("jobs.count", { count: job.counts.succeeded, total: job.counts.total }));
    this.fill.style.setProperty("width", `${100 * job.progress}%`);
    toggle(this.bar, MOVING.has(job.state) || job.state === "paused");
    this.#showPictures(job);
  }

  async #showPictures({ id, options, counts }) {
    const wanted = counts.succeeded > 0 && options.outputs.includes("thumbnail");
    if (!wanted || this.pictures.childElementCount > 0 || this.asking) return;
    this.asking = true;
    // Show the first photos that succeeded. A card also works without pictures.
    const { images } = await ask(paths.images(id, { state: "succeeded", limit: SHOWN })).catch(() => ({ images: [] }));
    this.asking = false;
    this.pictures.replaceChildren(...images.map(({ index }) => {
      const box = el("div", { class: "card-picture" });
      showPair(box, paths.shown(id, index, "thumbnail"), { aspect: 1 });
      return box;
    }));
  }
}
