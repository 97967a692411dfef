// Small pictures of files that were not sent yet: a few at a time, for what is on the screen, newest wish first.

const AT_ONCE = 2;
const KEPT = 160;
const SIDE = 320;

const wishes = [];
const kept = new Map();
let busy = 0;

/**
 * Return a small picture of a photo, or null if the browser cannot read its format or
 * `signal` was aborted before its turn came.
 */
export function preview(file, signal) {
  const known = kept.get(file);
  if (known !== undefined) return Promise.resolve(known);
  return new Promise((resolve) => {
    wishes.push({ file, signal, resolve });
    work();
  });
}

async function work() {
  if (busy >= AT_ONCE) return;
  const wish = wishes.pop();
  if (!wish) return;
  busy += 1;
  const picture = wish.signal.aborted ? null : await shrink(wish.file);
  if (!wish.signal.aborted) keep(wish.file, picture);
  wish.resolve(picture);
  busy -= 1;
  work();
}

async function shrink(file) {
  try {
    // One side alone keeps the proportions.
    return await createImageBitmap(file, { resizeWidth: SIDE, resizeQuality: "medium" });
  } catch {
    return null;
  }
}

function keep(file, picture) {
  kept.set(file, picture);
  if (kept.size <= KEPT) return;
  const [oldest] = kept.keys();
  // Not closed: a cell may be showing it still.
  kept.delete(oldest);
}
