// Small pictures of files that are not sent yet: a few at a time, the newest request first.

import { Pool } from "../pool.js";

const AT_ONCE = 2;
const KEPT = 160;
const SIDE = 320;

const requests = [];
const kept = new Map();
const pool = new Pool(AT_ONCE, () => requests.pop(), answer);

/**
 * Return a small picture of a photo, or null if the browser cannot read its format, or if `signal` was aborted before
 * its turn.
 */
export function preview(file, signal) {
  const known = kept.get(file);
  if (known !== undefined) return Promise.resolve(known);
  return new Promise((resolve) => {
    requests.push({ file, signal, resolve });
    pool.run();
  });
}

async function answer({ file, signal, resolve }) {
  const picture = signal.aborted ? null : await shrink(file);
  if (!signal.aborted) keep(file, picture);
  resolve(picture);
}

async function shrink(file) {
  try {
    // With only one side given, the proportions stay.
    return await createImageBitmap(file, { resizeWidth: SIDE, resizeQuality: "medium" });
  } catch {
    return null;
  }
}

function keep(file, picture) {
  kept.set(file, picture);
  if (kept.size <= KEPT) return;
  const [oldest] = kept.keys();
  // Do not close the picture: a cell may still show it.
  kept.delete(oldest);
}
