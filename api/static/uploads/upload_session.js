// The photos of one job on their way to storage: several at once, again where it failed, paused on demand.

import { Problem, RequestError, ask, paths, wait } from "../api.js";
import { listMissing } from "./missing.js";
import { isOwn, put } from "./put.js";

/** @import { Upload } from "../api.js" */

/** Photos sent at a time. */
const PARALLEL = 5;
/** Answers other than success after which a photo is given up for now. */
const REFUSALS = 5;
const LONGEST_WAIT = 20;
/** Connections to the store that failed, after which photos go through the API instead. */
const STORE_FAILURES = 3;
/** Times the server may say that photos are missing which were sent. */
const RECOUNTS = 2;
/** Seconds over which the speed is measured. */
const WINDOW = 5;

/** @type {Map<string, UploadSession>} */
const sessions = new Map();

/** Return the uploads of a job that this page is doing, or null. */
export function sessionOf(jobId) {
  return sessions.get(jobId) ?? null;
}

export function anySending() {
  return [...sessions.values()].some((session) => session.state === "sending" || session.state === "paused");
}

/**
 * Uploads of one job. `state` is `sending`, `paused`, `starting`, `done`, or `stuck`: then `problem` says why, and
 * `resume` tries again. Tells listeners of `change` (the state did) and `progress` (bytes or files did).
 */
export class UploadSession extends EventTarget {
  /**
   * `files` maps the index of each photo to its File; `addresses` maps those known to where they go; `skipped` counts
   * by kind what came with them and is no photo.
   *
   * @param {string} jobId
   * @param {Map<number, File>} files
   * @param {Map<number, string>} addresses
   * @param {Record<string, number> | null} skipped
   */
  constructor(jobId, files, addresses, skipped = null) {
    super();
    this.jobId = jobId;
    this.files = files;
    this.addresses = addresses;
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
    /** @type {Promise<{uploads: Upload[]}> | null} */
    this.asked = null;
    this.storeFailures = 0;
    this.recounts = 0;
    sessions.set(jobId, this);
    this.#run();
  }

  /** Bytes that have left, of photos that have arrived or are on their way. */
  get bytes() {
    return [...this.partial.values()].reduce((sum, bytes) => sum + bytes, this.sentBytes);
  }

  /** Bytes a second over the last seconds; null while nothing is known. */
  get speed() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (!first || !last || last.at - first.at < 1) return null;
    return Math.max(0, last.bytes - first.bytes) / (last.at - first.at);
  }

  /** The share of photo `index` that has left, 0 to 1. */
  shareOf(index) {
    if (this.sent.has(index)) return 1;
    return (this.partial.get(index) ?? 0) / Math.max(1, this.#fileOf(index).size);
  }

  pause() {
    if (this.state !== "sending") return;
    this.#enter("paused");
    this.round.abort();
  }

  /** Go on after a pause, or try again after something went wrong. */
  resume() {
    if (this.state !== "paused" && this.state !== "stuck") return;
    this.waiting.push(...this.givenUp.keys());
    this.givenUp.clear();
    this.problem = null;
    this.samples = [];
    this.storeFailures = 0;
    this.recounts = 0;
    this.#enter("sending");
    this.#run();
  }

  /** Stop for good; what was sent stays with the job. */
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
    // A round that was interrupted puts back what it had in hand.
    await before;
    await Promise.all(Array.from({ length: PARALLEL }, () => this.#sendAll(signal)));
    if (signal.aborted) return;
    if (this.givenUp.size > 0) this.#getStuck([...this.givenUp.values()][0]);
    else await this.#start();
  }

  async #sendAll(/** @type {AbortSignal} */ signal) {
    while (!signal.aborted) {
      const index = this.waiting.pop();
      if (index === undefined) return;
      try {
        await this.#sendOne(index, signal);
      } catch (error) {
        if (signal.aborted) this.waiting.push(index);
        else this.givenUp.set(index, error);
      } finally {
        this.partial.delete(index);
      }
      this.#tellProgress();
    }
  }

  async #sendOne(/** @type {number} */ index, /** @type {AbortSignal} */ signal) {
    const file = this.#fileOf(index);
    for (let losses = 0, refusals = 0; ; ) {
      try {
        const url = await this.#address(index);
        await put("PUT", url, file, { signal, onBytes: (bytes) => this.#move(index, bytes) });
        this.sent.add(index);
        this.sentBytes += file.size;
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        this.#move(index, 0);
        await checkReadable(file);
        if (error instanceof RequestError && error.passing) {
          if (error.status === 0 && !isOwn(await this.#address(index))) this.storeFailures += 1;
          losses += 1;
          await pauseFor(Math.min(LONGEST_WAIT, 0.5 * 2 ** losses), signal);
        } else if (error instanceof Problem || ++refusals === REFUSALS) {
          throw error;
        } else {
          // Most likely the address has expired.
          this.addresses.delete(index);
        }
      }
    }
  }

  /** Return where a photo goes: to the store, unless that cannot be reached from here, then to the API. */
  async #address(/** @type {number} */ index) {
    if (this.storeFailures >= STORE_FAILURES) return paths.upload(this.jobId, index);
    return this.addresses.get(index) ?? this.#askAddress(index);
  }

  /** Ask for the addresses of the photos from `index` on, which come a thousand at a time. */
  async #askAddress(/** @type {number} */ index) {
    this.asked ??= ask(paths.uploads(this.jobId, index)).finally(() => { this.asked = null; });
    for (const { index: at, url } of (await this.asked).uploads) this.addresses.set(at, url);
    // One that is not missing has arrived already; sending it again changes nothing.
    return this.addresses.get(index) ?? paths.upload(this.jobId, index);
  }

  async #start() {
    this.#enter("starting");
    try {
      await ask(paths.verb(this.jobId, "start"), { method: "POST" });
      sessions.delete(this.jobId);
      this.#enter("done");
    } catch (error) {
      const missing = error instanceof Problem && error.code === "uploads_missing";
      if (!missing || this.recounts++ === RECOUNTS) return this.#getStuck(error);
      await this.#sendMissing().catch((again) => this.#getStuck(again));
    }
  }

  /** Send once more what the server says it has not got. */
  async #sendMissing() {
    for (const { index, url } of await listMissing(this.jobId)) {
      if (this.sent.delete(index)) this.sentBytes -= this.#fileOf(index).size;
      this.addresses.set(index, url);
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

/** A file that was moved, changed or lies on a disk that is gone. */
class Unreadable extends Error {
  constructor(name) {
    super(name);
    this.code = "file_unreadable";
  }
}

async function checkReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Unreadable(file.name);
  }
}

/** Wait, but not beyond the moment the network is back. */
async function pauseFor(seconds, signal) {
  const online = new Promise((resolve) => window.addEventListener("online", resolve, { once: true }));
  const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  await Promise.race([wait(seconds), online, aborted]);
  signal.throwIfAborted();
}
