// Saves what the page holds as a file.

import { el } from "../dom.js";

/** Milliseconds after which the page frees a saved file. */
const SAVED = 10_000;

export function saveBlob(/** @type {Blob} */ blob, /** @type {string} */ name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), SAVED);
}
