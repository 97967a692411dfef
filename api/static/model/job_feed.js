// What happens to a job, as it happens: server-sent events where there are any, else asking again.

import { Offline, Polled, RequestError, paths } from "../api.js";
import { renewSession } from "../api_key.js";
import { ENDS } from "./states.js";

/** @import { Job } from "../api.js" */

/** Seconds between two questions, unless the server names another number. */
const PACE = 1.5;
/** Seconds without events before they are asked for once more. */
const RECONSIDER = 20;
/** Seconds a broken stream may take to come back before anybody is told. */
const PATIENCE = 5;

/**
 * Follow a job until `close` is called: `onJob(job)` for the job itself, `onImage({index, state})` for one
 * image, `onReset()` where images may have changed without a word, `onError(error)` with the error, or
 * null once it has passed.
 *
 * While the page is hidden nothing is followed; afterwards everything is looked at anew.
 */
export class JobFeed {
  /**
   * @param {string} id
   * @param {object} listeners
   * @param {(job: Job) => void} listeners.onJob
   * @param {(change: {index: number, state: string}) => void} listeners.onImage
   * @param {() => void} listeners.onReset
   * @param {(error: unknown) => void} listeners.onError
   */
  constructor(id, { onJob, onImage, onReset, onError }) {
    this.id = id;
    this.on = { onJob, onImage, onReset, onError };
    /** @type {EventSource | null} */
    this.source = null;
    // What ends the pause before the next question; 0 while one is on its way, null while none will be asked.
    /** @type {number | null} */
    this.timer = null;
    /** @type {number | undefined} */
    this.doubt = undefined;
    this.polled = new Polled(paths.job(id));
    this.closed = false;
    this.ended = false;
    this.noEventsBefore = 0;
    this.seen = () => (document.hidden ? this.#rest() : this.#follow());
    document.addEventListener("visibilitychange", this.seen);
    this.#follow();
  }

  /** Ask at once, after something was done to the job. */
  refresh() {
    this.ended = false;
    this.#rest();
    this.#follow();
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.seen);
    this.#rest();
  }

  #rest() {
    clearTimeout(this.timer ?? undefined);
    clearTimeout(this.doubt);
    this.timer = null;
    // An answer on its way will not be heard: what it says must be asked for again.
    this.polled = new Polled(paths.job(this.id));
    this.source?.close();
    this.source = null;
  }

  #follow() {
    if (this.closed || document.hidden || this.source || this.timer !== null || this.ended) return;
    this.on.onReset();
    this.#poll();
  }

  async #poll() {
    this.timer = 0;
    let pause = PACE;
    try {
      const { value, changed, retryAfter } = await this.polled.ask();
      if (this.timer === null || this.closed) return;
      this.on.onError(null);
      if (changed) this.#show(value);
      if (this.ended) return;
      pause = retryAfter ?? PACE;
      if (this.#listen()) return;
      if (changed) this.on.onReset();
    } catch (error) {
      if (this.timer === null || this.closed) return;
      this.on.onError(error);
      if (!(error instanceof RequestError) || !error.passing) return;
      pause = error.retryAfter ?? 2 * PACE;
    }
    this.timer = setTimeout(() => this.#poll(), 1000 * pause);
  }

  /** Open the stream of events; false if there is none for now. */
  #listen() {
    if (!window.EventSource || Date.now() < this.noEventsBefore) return false;
    this.timer = null;
    const source = new EventSource(paths.events(this.id));
    this.source = source;
    source.addEventListener("job", (event) => this.#show(JSON.parse(event.data)));
    source.addEventListener("image", (event) => this.on.onImage(JSON.parse(event.data)));
    source.addEventListener("reset", () => this.on.onReset());
    source.addEventListener("open", () => {
      clearTimeout(this.doubt);
      this.on.onError(null);
    });
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      clearTimeout(this.doubt);
      this.doubt = setTimeout(() => this.on.onError(new Offline()), 1000 * PATIENCE);
      // A stream that broke is opened again by the browser; one that was refused is closed.
      if (source.readyState !== EventSource.CLOSED) return;
      this.source = null;
      clearTimeout(this.doubt);
      this.noEventsBefore = Date.now() + 1000 * RECONSIDER;
      renewSession();
      this.#follow();
    });
    return true;
  }

  #show(job) {
    this.ended = ENDS.has(job.state);
    this.on.onJob(job);
    if (!this.ended) return;
    this.#rest();
    this.on.onReset();
  }
}
