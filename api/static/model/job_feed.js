// The one place that waits for a job: by server-sent events if they work, else by polling.

import { Offline, Polled, RequestError, paths } from "../api.js";
import { renewSession } from "../api_key.js";
import { ENDS } from "./states.js";

/** @import { Job } from "../api.js" */

/** Seconds between two polls, unless the server names another time. */
const PACE = 1.5;
/** Seconds of polling before events are tried again. */
const RECONSIDER = 20;
/** Seconds that a broken stream gets to reconnect before an error is reported. */
const PATIENCE = 5;

/**
 * Reports what happens to a job until `close` is called: `onJob(job)` for the job, `onImage({index, state})` for one
 * image, `onReset()` if images may have changed unreported, `onError(error)` for an error, with null once it has passed.
 *
 * While the page is hidden it rests; afterwards it reads everything again.
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
    // The timer of the next poll; 0 during a poll, null while no poll is planned.
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

  /** Poll at once, after the user did something to the job. */
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
    // The answer of a running poll will be ignored, so the next must not be a 304.
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

  /** Open the event stream; return false if there is none for now. */
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
      // The browser reopens a broken stream, but not a refused one.
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
