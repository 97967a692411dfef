// Uploads the photos of one job: several at once, with pauses and further tries when the user wants them.

import { Pool } from "../pool.js";
import { Addresses, Unreadable, missingUploads, putFile, start } from "./protocol.js";

/** @import { Upload } from "../api.js" */

/** Photos sent at a time. */
const PARALLEL = 5;
/** How often the server may say that photos are missing that were sent. */
const RECOUNTS = 2;
/** Seconds over which the speed is measured. */
const WINDOW = 5;

/** @type {Map<string, UploadSession>} */
const sessions = new Map();

/** Return the upload session of a job on this page, or null. */
export function sessionOf(jobId) {
  return sessions.get(jobId) ?? null;
}

export function anySending() {
  return [...sessions.values()].some((session) => session.state === "sending" || session.state === "paused");
}

/**
 * The uploads of one job. `state` is `sending`, `paused`, `starting`, `done` or `stuck`; if stuck, `problem` says why, and
 * `resume` tries again. Dispatches `change` when the state changes and `progress` when bytes or files do.
 */
export class UploadSession extends EventTarget {
  /**
   * `files` maps the index of each photo to its File; `uploads` are the known addresses; `skipped` counts the files by
   * kind that came with them and are not photos.
   *
   * @param {string} jobId
   * @param {Map<number, File>} files
   * @param {Upload[]} uploads
   * @param {Record<string, number> | null} skipped
   */
  constructor(jobId, files, uploads, skipped = null) {
    super();
    this.jobId = jobId;
    this.files = files;
    this.addresses = new Addresses(jobId, uploads);
    this.skipped = skipped;
    this.waiting = [...files.keys()].reverse();
    /** @type {Set<number>} */
    this.sent = new Set();
    /** @type {Map<number, number>} */
    this.partial = new Map();
    this.totalBytes = [...files.values()].reduce((sum, file) => sum + file.size, 0);
    this.sentBytes = 0;
    /** @type {{at: number, bytes: number}[]} */
    this.samples = [];
    /** @type {Map<number, unknown>} */
    this.givenUp = new Map();
    /** @type {unknown} */
    this.problem = null;
    this.state = "sending";
    this.round = new AbortController();
    /** @type {Promise<void> | null} */
    this.running = null;
    this.recounts = 0;
    sessions.set(jobId, this);
    this.#run();
  }

  /** The bytes sent so far, of photos that have arrived or are being sent. */
  get bytes() {
    return [...this.partial.values()].reduce((sum, bytes) => sum + bytes, this.sentBytes);
  }

  /** The bytes per second over the last seconds; null while unknown. */
  get speed() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (!first || !last || last.at - first.at < 1) return null;
    return Math.max(0, last.bytes - first.bytes) / (last.at - first.at);
  }

  /** Return the share of photo `index` that was sent, 0 to 1. */
  shareOf(index) {
    if (this.sent.has(index)) return 1;
    return (this.partial.get(index) ?? 0) / Math.max(1, this.#fileOf(index).size);
  }

  pause() {
    if (this.state !== "sending") return;
    this.#enter("paused");
    this.round.abort();
  }

  /** Continue after a pause, or try again after a problem. */
  resume() {
    if (this.state !== "paused" && this.state !== "stuck") return;
    this.waiting.push(...this.givenUp.keys());
    this.givenUp.clear();
    this.problem = null;
    this.samples = [];
    this.addresses.trustStore();
    this.recounts = 0;
    this.#enter("sending");
    this.#run();
  }

  /** Stop for good. Photos that were sent stay with the job. */
  drop() {
    sessions.delete(this.jobId);
    this.round.abort();
    this.#enter("done");
  }

  #run() {
    const before = this.running;
    this.round = new AbortController();
    this.running = this.#sendRound(before, this.round.signal);
  }

  async #sendRound(before, signal) {
    // An interrupted round puts its unfinished photos back.
    await before;
    const next = () => (signal.aborted ? undefined : this.waiting.pop());
    await new Pool(PARALLEL, next, (index) => this.#send(index, signal)).run();
    if (signal.aborted) return;
    if (this.givenUp.size > 0) this.#getStuck([...this.givenUp.values()][0]);
    else await this.#start();
  }

  async #send(/** @type {number} */ index, /** @type {AbortSignal} */ signal) {
    try {
      const file = this.#fileOf(index);
      await putFile(this.addresses, index, file, { signal, onBytes: (bytes) => this.#move(index, bytes) });
      this.sent.add(index);
      this.sentBytes += file.size;
    } catch (error) {
      if (signal.aborted) this.waiting.push(index);
      else this.givenUp.set(index, error);
    } finally {
      this.partial.delete(index);
    }
    this.#tellProgress();
  }

  async #start() {
    this.#enter("starting");
    try {
      if (await start(this.jobId)) {
        sessions.delete(this.jobId);
        this.#enter("done");
      } else if (this.recounts++ === RECOUNTS) {
        this.#getStuck(new StillMissing());
      } else {
        await this.#sendMissing();
      }
    } catch (error) {
      this.#getStuck(error);
    }
  }

  /** Send the photos again that the server says it lacks. */
  async #sendMissing() {
    const missing = await missingUploads(this.jobId);
    this.addresses.add(missing);
    for (const { index } of missing) {
      if (this.sent.delete(index)) this.sentBytes -= this.#fileOf(index).size;
      if (this.files.has(index)) this.waiting.push(index);
      else this.givenUp.set(index, new Unreadable(`${index}`));
    }
    if (this.state !== "starting") return;
    this.#enter("sending");
    await this.#sendRound(null, this.round.signal);
  }

  #getStuck(problem) {
    this.problem = problem;
    this.#enter("stuck");
  }

  #fileOf(/** @type {number} */ index) {
    const file = this.files.get(index);
    if (!file) throw new Unreadable(`${index}`);
    return file;
  }

  #move(/** @type {number} */ index, /** @type {number} */ bytes) {
    this.partial.set(index, Math.min(bytes, this.#fileOf(index).size));
    this.#tellProgress();
  }

  #tellProgress() {
    const at = performance.now() / 1000;
    this.samples.push({ at, bytes: this.bytes });
    while (this.samples.length > 2 && at - this.samples[0].at > WINDOW) this.samples.shift();
    this.dispatchEvent(new Event("progress"));
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

/** The server still lacks photos that were sent. */
class StillMissing extends Error {
  constructor() {
    super("uploads_missing");
    this.code = "uploads_missing";
  }
}
