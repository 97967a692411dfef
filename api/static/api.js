// The one module that talks to the API.

import { forgetKey, keyHeader, signIn } from "./session.js";

/** Seconds waited where the server asks for a while but does not say how long. */
const PATIENCE = 2;
const LONGEST = 15;
const TRIES = 4;

/** An answer of the API that is an error; `code` is stable, `message` is for a person. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = body?.code ?? "unknown";
    this.retryAfter = retryAfter;
    this.members = body ?? {};
  }

  /** True if the same request may succeed in a while. */
  get passing() {
    return this.status === 429 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** No answer came at all. */
export class Offline extends Error {
  constructor() {
    super("offline");
    this.code = "offline";
    this.passing = true;
  }
}

/**
 * Ask the API and return its JSON; null for an answer without a body.
 *
 * Asks again in a while where the server says so. Throws Problem, or Offline.
 */
export async function ask(path, { method = "GET", json = null, signal = null } = {}) {
  const headers = json === null ? {} : { "Content-Type": "application/json" };
  // What is sent again must not be done twice.
  if (json !== null) headers["Idempotency-Key"] = randomName();
  const response = await persistently(() => send(path, {
    method, signal, headers, body: json === null ? null : JSON.stringify(json),
  }));
  return response.status === 204 ? null : response.json();
}

/** Fetch a file of the API as a Blob; from the API itself, so that its pixels may be read. */
export async function askBlob(path, { signal = null } = {}) {
  const response = await persistently(() => send(`${path}?stream=1`, { signal, cache: "default" }));
  return response.blob();
}

/** A resource that is asked for again and again: only what changed is sent. */
export class Polled {
  constructor(path) {
    this.path = path;
    this.etag = null;
    this.value = null;
  }

  /** Return `{value, changed, retryAfter}`; `retryAfter`, in seconds, only if the server named one. */
  async ask(signal = null) {
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
  job: (id) => `/v1/jobs/${id}`,
  verb: (id, verb) => `/v1/jobs/${id}/${verb}`,
  events: (id) => `/v1/jobs/${id}/events`,
  images: (id, query) => `/v1/jobs/${id}/images?${new URLSearchParams(query)}`,
  uploads: (id, cursor) => `/v1/jobs/${id}/uploads?cursor=${cursor}`,
  upload: (id, index) => `/v1/jobs/${id}/uploads/${index}`,
  output: (id, index, output) => `/v1/jobs/${id}/images/${index}/${output}`,
  shown: (id, index, output) => `/v1/jobs/${id}/images/${index}/${output}?stream=1`,
  archive: (id) => `/v1/jobs/${id}/archive`,
};

/** Return 128 random bits; `crypto.randomUUID` is missing where a page came over plain HTTP. */
function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function wait(seconds) {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

async function persistently(attempt) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!error.passing || tries === TRIES) throw error;
      await wait(Math.min(LONGEST, error.retryAfter ?? PATIENCE * tries));
    }
  }
}

async function send(path, options) {
  const key = keyHeader();
  const response = await reach(path, { ...options, headers: { ...options.headers, ...key } });
  if (response.ok || response.status === 304) return response;
  if (response.status === 401) {
    // Meanwhile another request may have got a key.
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
    if (error.name === "AbortError") throw error;
    throw new Offline();
  }
}

function secondsOf(response) {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds : null;
}
