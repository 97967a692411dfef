// One job as the views see it: the job, the images fetched so far, and their changes.

import { Problem, ask, paths } from "../api.js";
import { JobFeed } from "./job_feed.js";
import { isSettled } from "./states.js";

/** @import { Image, Job } from "../api.js" */

/** Images fetched at a time. */
const PAGE = 200;
/** Milliseconds for which changes are collected before they are fetched. */
const GATHER = 400;
const KEPT = 4;

/** @type {Map<string, JobModel>} */
const models = new Map();

/** Return the model of a job. The last few are kept, so that going back shows everything at once. */
export function jobModel(id) {
  const model = models.get(id) ?? new JobModel(id);
  models.delete(id);
  models.set(id, model);
  for (const [old, candidate] of models) {
    if (models.size <= KEPT) break;
    if (!candidate.feed) models.delete(old);
  }
  return model;
}

/**
 * Tells listeners of `job` (the job changed), `images` (some images did) and `error` (see `error`).
 */
class JobModel extends EventTarget {
  /** @param {string} id */
  constructor(id) {
    super();
    this.id = id;
    /** @type {Job | null} */
    this.job = null;
    /** @type {unknown} */
    this.error = null;
    /** @type {JobFeed | null} */
    this.feed = null;
    this.followers = 0;
    /** @type {Map<number, Image[]>} */
    this.pages = new Map();
    /** @type {[number, number]} */
    this.wanted = [0, 0];
    /** @type {Set<number | "failures">} */
    this.asking = new Set();
    /** @type {Set<number>} */
    this.stale = new Set();
    /** @type {number | null} */
    this.gathering = null;
    /** @type {Image[]} */
    this.failures = [];
    /** @type {string | null} */
    this.failuresCursor = "0";
  }

  get total() {
    return this.job?.counts.total ?? 0;
  }

  has(output) {
    return this.job?.options.outputs.includes(output) ?? false;
  }

  /** The names of the results of each photo: those of the outputs, but a stereo pair has two. */
  get results() {
    const { outputs = [], stereo } = this.job?.options ?? {};
    return outputs.flatMap((output) => (output === "stereo" && stereo?.layout === "pair" ? ["stereo_left", "stereo_right"] : [output]));
  }

  /** Follow the job, and return the function that stops following it. */
  follow() {
    this.followers += 1;
    this.feed ??= new JobFeed(this.id, {
      onJob: (job) => this.#takeJob(job),
      onImage: (change) => this.#takeImage(change),
      onReset: () => this.#doubt(),
      onError: (error) => this.#takeError(error),
    });
    return () => {
      this.followers -= 1;
      if (this.followers > 0) return;
      this.feed?.close();
      this.feed = null;
    };
  }

  /** Return an image, or undefined if it is not fetched yet. */
  image(/** @type {number} */ index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Fetch the images from `first` up to `last` that are missing, and keep them up to date. */
  want(first, last) {
    this.wanted = [first, last];
    for (const page of this.#wantedPages()) {
      if (!this.pages.has(page) || this.stale.has(page)) this.#fetchPage(page);
    }
  }

  /** Return image `index`, fetched if necessary. It is kept up to date. */
  async imageAt(/** @type {number} */ index) {
    this.wanted = [index, index + 1];
    if (!this.image(index)) await this.#fetchPage(Math.floor(index / PAGE));
    return this.image(index);
  }

  /** Fetch the next failed images. `failures` holds all of them once `failuresCursor` is null. */
  async moreFailures() {
    const cursor = this.failuresCursor;
    if (cursor === null || this.asking.has("failures")) return;
    this.asking.add("failures");
    try {
      const page = await ask(paths.images(this.id, { state: "failed", cursor, limit: PAGE }));
      if (this.failuresCursor !== cursor) return;
      this.failures.push(...page.images);
      this.failuresCursor = page.next_cursor;
      this.#tell("images");
    } catch (error) {
      this.#takeError(error);
    } finally {
      this.asking.delete("failures");
    }
  }

  /** Control the job: pause, resume, cancel or retry it. */
  async control(verb) {
    const job = await ask(paths.verb(this.id, verb), { method: "POST" });
    if (verb === "retry") this.pages.clear();
    this.#takeJob(job);
    this.feed?.refresh();
  }

  async remove() {
    await ask(paths.job(this.id), { method: "DELETE" });
    this.feed?.close();
    models.delete(this.id);
  }

  #takeJob(/** @type {Job} */ job) {
    if (this.job?.counts.failed !== job.counts.failed) this.#forgetFailures();
    this.job = job;
    this.#tell("job");
  }

  #takeImage(/** @type {{index: number, state: string}} */ { index, state }) {
    const image = this.image(index);
    if (!image || image.state === state) return;
    image.state = state;
    // Fetch the image for its outputs, or for the reason of its failure.
    if (state === "failed" || state === "succeeded") this.#suspect(Math.floor(index / PAGE));
    this.#tell("images");
  }

  #takeError(error) {
    if (this.error === error) return;
    this.error = error;
    this.#tell("error");
  }

  #forgetFailures() {
    this.failures = [];
    this.failuresCursor = "0";
  }

  /** Fetch all images again that may have changed. */
  #doubt() {
    for (const [page, images] of this.pages) {
      if (!images.every(isSettled)) this.#suspect(page);
    }
  }

  #suspect(page) {
    this.stale.add(page);
    this.gathering ??= setTimeout(() => {
      this.gathering = null;
      this.want(...this.wanted);
    }, GATHER);
  }

  #wantedPages() {
    const [first, last] = this.wanted;
    const pages = [];
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) pages.push(page);
    return pages;
  }

  async #fetchPage(page) {
    if (this.asking.has(page)) return;
    this.asking.add(page);
    this.stale.delete(page);
    try {
      const { images } = await ask(paths.images(this.id, { cursor: page * PAGE, limit: PAGE }));
      this.pages.set(page, images);
      // Its images may have changed during the request.
      if (this.stale.has(page)) this.#suspect(page);
      this.#tell("images");
    } catch (error) {
      // A 404 would come again. Anything else is tried again at the next change of the job.
      if (!(error instanceof Problem && error.status === 404)) this.stale.add(page);
      this.#takeError(error);
    } finally {
      this.asking.delete(page);
    }
  }

  #tell(what) {
    this.dispatchEvent(new Event(what));
  }
}
