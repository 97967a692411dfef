// Sends one body. Only XMLHttpRequest reports how much of a body was sent.

import { RequestError } from "../api.js";
import { keyHeader } from "../api_key.js";

/** Milliseconds without a byte sent, after which the request is aborted. */
const SILENCE = 60_000;
/** Milliseconds that the server gets to answer once it has the whole body. */
const ANSWER = 600_000;

/** Why a file did not arrive; `status` is null if no answer came. */
class NotStored extends RequestError {
  /**
   * @param {number | null} status
   * @param {{code?: string, detail?: string} | null} body
   */
  constructor(status, body) {
    const passing = status === null || status === 429 || status >= 500;
    super(body?.detail ?? `HTTP ${status}`, body?.code ?? "not_stored", { passing, status });
  }
}

/** True for an address of the API itself, false for one of the object store. */
export function isOwn(url) {
  return new URL(url, location.href).origin === location.origin;
}

/**
 * Send `body` and return the JSON of the answer, if any. `onBytes` gets the bytes sent so far.
 *
 * Throws NotStored, or an AbortError once `signal` is aborted.
 *
 * @param {string} method
 * @param {string} url
 * @param {Blob | FormData} body
 * @param {{signal: AbortSignal, onBytes: (bytes: number) => void}} options
 */
export function put(method, url, body, { signal, onBytes }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    /** @type {number | undefined} */
    let silence;
    const listen = (/** @type {number} */ patience) => {
      clearTimeout(silence);
      silence = setTimeout(() => request.abort(), patience);
    };
    const abort = () => request.abort();
    const settle = (finish, value) => {
      clearTimeout(silence);
      signal.removeEventListener("abort", abort);
      finish(value);
    };
    request.open(method, url);
    request.responseType = isOwn(url) ? "json" : "text";
    // Presigned URLs carry their own permission, and the store must not see the API key.
    if (isOwn(url)) for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      listen(SILENCE);
      onBytes(event.loaded);
    };
    request.upload.onload = () => listen(ANSWER);
    request.onload = () => {
      const ok = request.status >= 200 && request.status < 300;
      if (ok) settle(resolve, request.response);
      else settle(reject, new NotStored(request.status, request.response));
    };
    request.onerror = () => settle(reject, new NotStored(null, null));
    request.onabort = () => settle(reject, signal.aborted ? signal.reason : new NotStored(null, null));
    signal.addEventListener("abort", abort);
    listen(SILENCE);
    request.send(body);
  });
}
