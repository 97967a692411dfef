// The one module that talks to the API.

import { forgetKey, keyHeader, signIn } from "./api_key.js";

/**
 * The parts of the API's answers that the page uses (docs/api.md).
 * @typedef {object} Failure
 * @property {string} code
 * @property {string} message
 *
 * @typedef {object} Options
 * @property {string[]} outputs
 * @property {string} colormap
 * @property {boolean} invert
 * @property {string} normalize
 * @property {string} [edges]
 * @property {string} [depth_source]
 * @property {{layout: string}} [stereo]
 * @property {string} quality
 * @property {string} [model]
 * @property {{format: string}} [clip]
 *
 * @typedef {object} Job
 * @property {string} id
 * @property {string} state
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} ended_at
 * @property {string} title
 * @property {Options} options
 * @property {{total: number, succeeded: number, failed: number, pending: number}} counts
 * @property {number} progress
 * @property {number | null} images_per_second
 * @property {number | null} eta_seconds
 * @property {Failure | null} error
 * @property {Record<string, string>} links
 *
 * @typedef {object} Image
 * @property {number} index
 * @property {string} name
 * @property {string} state
 * @property {Failure | null} error
 * @property {Record<string, string>} outputs
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} title
 * @property {string | null} tier
 * @property {number} relative_cost
 * @property {string | null} weights_licence
 * @property {string} licence_note
 * @property {boolean} available
 * @property {boolean} default
 *
 * @typedef {object} Upload
 * @property {number} index
 * @property {string} name
 * @property {number | null} [size]
 * @property {string} url
 */

/** Seconds to wait before another try if the server names no time; and at most. */
const PATIENCE = 2;
const LONGEST = 15;
const TRIES = 4;
/** Statuses after which the same request may succeed later. */
const PASSING = new Set([429, 502, 503, 504]);
/** The same photo would take too long again. */
const TOO_SLOW = "depth_timed_out";

/**
 * A request that failed. `code` is stable, `message` is for people. `passing` is true if the same request may succeed
 * later: after `retryAfter` seconds, if the server named a time. `status` is null if no answer came.
 */
export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   * @param {{passing: boolean, status?: number | null, retryAfter?: number | null}} more
   */
  constructor(message, code, { passing, status = null, retryAfter = null }) {
    super(message);
    this.code = code;
    this.passing = passing;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** An error that the API answered with. */
export class Problem extends RequestError {
  /**
   * @param {number} status
   * @param {{code?: string, detail?: string} | null} body
   * @param {number | null} retryAfter
   */
  constructor(status, body, retryAfter = null) {
    const passing = PASSING.has(status) && body?.code !== TOO_SLOW;
    super(body?.detail ?? `HTTP ${status}`, body?.code ?? "unknown", { passing, status, retryAfter });
  }
}

/** No answer came. */
export class Offline extends RequestError {
  constructor() {
    super("offline", "offline", { passing: true });
  }
}

/**
 * Send a request to the API and return the JSON of its answer, or null if it has no body.
 *
 * Tries again later if that may help. Throws Problem or Offline.
 *
 * @param {string} path
 * @param {{method?: string, json?: unknown, signal?: AbortSignal | null}} options
 */
export async function ask(path, { method = "GET", json = null, signal = null } = {}) {
  // With a key, a request that is sent twice makes only one job.
  const headers = json === null ? {} : { "Content-Type": "application/json", "Idempotency-Key": randomName() };
  const response = await persistently(() => send(path, {
    method, signal, headers, body: json === null ? null : JSON.stringify(json),
  }), signal);
  return response.status === 204 ? null : response.json();
}

/**
 * Fetch a file of the API as a Blob.
 *
 * @param {string} path
 * @param {{signal?: AbortSignal | null}} options
 */
export async function askBlob(path, { signal = null } = {}) {
  const response = await persistently(() => send(path, { signal, cache: "default" }), signal);
  return response.blob();
}

/**
 * Post a file to the API; return the file that it answers with, and the header that names it.
 *
 * @param {string} path
 * @param {Blob} body
 * @param {{signal?: AbortSignal | null}} options
 */
export async function askFile(path, body, { signal = null } = {}) {
  const response = await persistently(() => send(path, { method: "POST", body, signal }), signal);
  return { blob: await response.blob(), disposition: response.headers.get("Content-Disposition") };
}

/**
 * Return the networks that jobs may name. Null if the server does not say: one of an earlier version does not know the
 * question, and one that wants a key is asked again once there is one.
 *
 * @param {AbortSignal | null} signal
 * @returns {Promise<Model[] | null>}
 */
export async function askModels(signal = null) {
  try {
    const response = await reach(paths.models, { signal, headers: keyHeader() });
    return response.ok ? (await response.json()).models : null;
  } catch {
    return null;
  }
}

/** A resource that is requested again and again; the server sends it only if it has changed. */
export class Polled {
  /** @param {string} path */
  constructor(path) {
    this.path = path;
    /** @type {string | null} */
    this.etag = null;
    /** @type {any} */
    this.value = null;
  }

  /** Return `{value, changed, retryAfter}`; `retryAfter` is in seconds, or null if the server named no time. */
  async ask(/** @type {AbortSignal | null} */ signal = null) {
    const headers = this.etag === null ? {} : { "If-None-Match": this.etag };
    const response = await send(this.path, { headers, signal });
    const retryAfter = secondsOf(response);
    if (response.status === 304) return { value: this.value, changed: false, retryAfter };
    this.etag = response.headers.get("ETag");
    this.value = await response.json();
    return { value: this.value, changed: true, retryAfter };
  }
}

export const paths = {
  jobs: "/v1/jobs",
  jobsPage: (query) => `/v1/jobs?${inQuery(query)}`,
  job: (id) => `/v1/jobs/${id}`,
  verb: (id, verb) => `/v1/jobs/${id}/${verb}`,
  events: (id) => `/v1/jobs/${id}/events`,
  images: (id, query) => `/v1/jobs/${id}/images?${inQuery(query)}`,
  uploads: (id, cursor) => `/v1/jobs/${id}/uploads?cursor=${cursor}`,
  upload: (id, index) => `/v1/jobs/${id}/uploads/${index}`,
  output: (id, index, output) => `/v1/jobs/${id}/images/${index}/${output}`,
  // Comes from the API itself, so that the page may read its pixels; `output` may redirect to the store.
  shown: (id, index, output) => `/v1/jobs/${id}/images/${index}/${output}?stream=1`,
  models: "/v1/models",
  depth: (query) => `/v1/depth?${query}`,
  archive: (id) => `/v1/jobs/${id}/archive`,
};

function inQuery(/** @type {Record<string, string | number>} */ query) {
  return new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
}

/** Return 128 random bits. `crypto.randomUUID` is missing on pages that came over plain HTTP. */
function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function wait(seconds) {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

/** Return a promise that rejects once `signal` is aborted. */
function aborted(/** @type {AbortSignal | null} */ signal) {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

async function persistently(attempt, /** @type {AbortSignal | null} */ signal = null) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RequestError) || !error.passing || tries === TRIES) throw error;
      // That it is aborted already is no event.
      signal?.throwIfAborted();
      await Promise.race([wait(Math.min(LONGEST, error.retryAfter ?? PATIENCE * tries)), aborted(signal)]);
    }
  }
}

async function send(path, options) {
  const key = keyHeader();
  const response = await reach(path, { ...options, headers: { ...options.headers, ...key } });
  if (response.ok || response.status === 304) return response;
  if (response.status === 401) {
    // Another request may have got a key meanwhile.
    if (keyHeader().Authorization === key.Authorization) {
      forgetKey();
      await signIn();
    }
    return send(path, options);
  }
  throw new Problem(response.status, await response.json().catch(() => null), secondsOf(response));
}

async function reach(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Offline();
  }
}

function secondsOf(response) {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds : null;
}
