// The upload protocol, in the steps and words of fathom/uploads.py: announce the photos, put each file, start the job.
// A photo goes to a presigned URL of the store, or through the API where the store is out of reach.

import { Problem, RequestError, ask, paths, wait } from "../api.js";
import { isOwn, put } from "./put.js";

/** @import { Job, Upload } from "../api.js" */
/** @import { Photo } from "./collect.js" */

/** Answers other than success after which a photo is given up for now. */
const REFUSALS = 5;
/** Seconds between two tries, at most. */
const LONGEST_WAIT = 20;
/** Lost connections to the store after which photos go through the API. */
const STORE_FAILURES = 3;

/** The file was moved or changed, or its disk is gone. */
export class Unreadable extends Error {
  constructor(name) {
    super(name);
    this.code = "file_unreadable";
  }
}

/**
 * Announce photos; returns the job, with the addresses of its first uploads.
 *
 * @param {Photo[]} photos
 * @param {Record<string, unknown>} options
 * @param {string} title
 * @returns {Promise<Job & {uploads: Upload[]}>}
 */
export function announce(photos, options, title) {
  const uploads = photos.map(({ file, name }) => ({ name, size: file.size }));
  return ask(paths.jobs, { method: "POST", json: { uploads, options, title } });
}

/** Return the photos that a job still lacks. */
export async function missingUploads(/** @type {string} */ jobId) {
  /** @type {Upload[]} */
  const missing = [];
  /** @type {string | null} */
  let cursor = "0";
  while (cursor !== null) {
    const page = await ask(paths.uploads(jobId, cursor));
    missing.push(...page.uploads);
    cursor = page.next_cursor;
  }
  return missing;
}

/** Start a job; returns false if the server still lacks photos. */
export async function start(/** @type {string} */ jobId) {
  try {
    await ask(paths.verb(jobId, "start"), { method: "POST" });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.code === "uploads_missing") return false;
    throw error;
  }
}

/** Knows where each photo of a job goes. */
export class Addresses {
  /** @param {string} jobId @param {Upload[]} uploads */
  constructor(jobId, uploads) {
    this.jobId = jobId;
    /** @type {Map<number, string>} */
    this.known = new Map();
    this.storeFailures = 0;
    /** @type {Promise<void> | null} */
    this.asking = null;
    this.add(uploads);
  }

  add(/** @type {Upload[]} */ uploads) {
    for (const { index, url } of uploads) this.known.set(index, url);
  }

  /** Return where photo `index` goes. */
  async of(/** @type {number} */ index) {
    const own = paths.upload(this.jobId, index);
    if (this.storeFailures >= STORE_FAILURES) return own;
    if (!this.known.has(index)) await this.#askFrom(index);
    // A photo that the server does not miss has arrived; sending it again changes nothing.
    return this.known.get(index) ?? own;
  }

  /** Forget an address that has most likely expired. */
  forget(/** @type {number} */ index) {
    this.known.delete(index);
  }

  /** Note that a connection to this address was lost. */
  noteLoss(/** @type {string} */ url) {
    if (!isOwn(url)) this.storeFailures += 1;
  }

  /** Try the store again. */
  trustStore() {
    this.storeFailures = 0;
  }

  /** Ask for the addresses of the photos from `index` on; they come a thousand at a time. */
  #askFrom(/** @type {number} */ index) {
    this.asking ??= ask(paths.uploads(this.jobId, index))
      .then(({ uploads }) => this.add(uploads))
      .finally(() => { this.asking = null; });
    return this.asking;
  }
}

/**
 * Put a photo where it goes, again and again until it has arrived. `onBytes` gets the bytes sent so far.
 *
 * Throws Unreadable, the error of the last try once trying again is no use, or an AbortError.
 *
 * @param {Addresses} addresses
 * @param {number} index
 * @param {File} file
 * @param {{signal: AbortSignal, onBytes: (bytes: number) => void}} options
 */
export async function putFile(addresses, index, file, { signal, onBytes }) {
  for (let losses = 0, refusals = 0; ; ) {
    let url = "";
    try {
      url = await addresses.of(index);
      await put("PUT", url, file, { signal, onBytes });
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      onBytes(0);
      await checkReadable(file);
      if (error instanceof RequestError && error.passing) {
        if (url && error.status === null) addresses.noteLoss(url);
        losses += 1;
        await pauseFor(Math.min(LONGEST_WAIT, 0.5 * 2 ** losses), signal);
      } else if (error instanceof Problem || ++refusals === REFUSALS) {
        throw error;
      } else {
        addresses.forget(index);
      }
    }
  }
}

async function checkReadable(/** @type {File} */ file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Unreadable(file.name);
  }
}

/** Wait, but only until the network is back. */
async function pauseFor(seconds, signal) {
  const online = new Promise((resolve) => window.addEventListener("online", resolve, { once: true }));
  const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  await Promise.race([wait(seconds), online, aborted]);
  signal.throwIfAborted();
}
