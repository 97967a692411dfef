// The photo itself, upright and at a size for the screen.

import { askBlob, paths } from "../api.js";

/** The longer side of the picture that is kept: enough for a screen, and not too large for a graphics card. */
const SIDE = 2048;
/** Two aspect ratios are the same if they differ by less, because pixels are rounded. */
const TOLERANCE = 0.02;

/**
 * Return the photo of image `index` as an ImageBitmap. If the browser cannot show its format, such as HEIC or TIFF, take
 * it from the thumbnail; without one, return null. `signal` aborts the requests.
 */
export async function loadPhoto(job, index, sidecar, signal) {
  const { width, height } = sidecar.original_size;
  try {
    const bitmap = await shrink(await askBlob(paths.shown(job.id, index, "input"), { signal }), width, height);
    // A browser that ignores a file's orientation shows the photo on its side or upside down.
    const ratio = bitmap.width / bitmap.height / (width / height);
    if (Math.abs(ratio - 1) < TOLERANCE && !mayStandOnItsHead(sidecar)) return bitmap;
  } catch (error) {
    if (signal.aborted) throw error;
  }
  return job.options.outputs.includes("thumbnail") ? leftHalf(job, index, signal) : null;
}

/** Chromium ignores the EXIF of a WebP, and the aspect ratio does not reveal half a turn. */
function mayStandOnItsHead(sidecar) {
  return sidecar.source.format === "webp" && sidecar.orientation_applied !== 1;
}

function shrink(blob, width, height) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  if (scale === 1) return createImageBitmap(blob);
  return createImageBitmap(blob, { resizeWidth: Math.round(width * scale), resizeQuality: "high" });
}

async function leftHalf(job, index, signal) {
  const both = await createImageBitmap(await askBlob(paths.shown(job.id, index, "thumbnail"), { signal }));
  return createImageBitmap(both, 0, 0, Math.floor(both.width / 2), both.height);
}
