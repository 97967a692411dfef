// Where a point of a photo lies in the view of each eye. The server makes stereo pictures by the same rule.

/** The eyes, each with the direction in which near points move in it: to the right in the left eye. */
export const EYES = { left: 1, right: -1 };
/** Steps in which the shader looks for the point that is seen at a pixel. */
const [FEWEST, MOST] = [8, 64];

/**
 * `divergence` is the disparity between the farthest and the nearest point, in per cent of the width; `convergence` is where
 * the screen is, from 0, at the farthest point, to 1, at the nearest.
 * @typedef {{divergence: number, convergence: number}} Stereo
 */

/** Return the disparity between the farthest and the nearest point before the view is cropped, as a share of the width. */
function disparityOf(/** @type {Stereo} */ stereo) {
  const wanted = stereo.divergence / 100;
  return wanted / (1 + 2 * farthestOf(stereo) * wanted);
}

/** Return the farthest move of any point, as a share of the disparity. */
function farthestOf(/** @type {Stereo} */ { convergence }) {
  return Math.max(convergence, 1 - convergence) / 2;
}

/**
 * Return how much farther to the right the nearest point moves than the farthest one, as a share of the photo's width.
 * Each eye takes half of the disparity.
 */
export function reachOf(/** @type {"left" | "right"} */ eye, /** @type {Stereo} */ stereo) {
  return (EYES[eye] * disparityOf(stereo)) / 2;
}

/** Return by which share of the width a point of this nearness, 0 to 1, moves to the right in the view of an eye. */
export function shiftOf(nearness, eye, /** @type {Stereo} */ stereo) {
  return reachOf(eye, stereo) * (nearness - stereo.convergence);
}

/** Return the share of each side that is cropped, so that no view shows what lies beyond the photo. */
export function marginOf(/** @type {Stereo} */ stereo) {
  return farthestOf(stereo) * disparityOf(stereo);
}

/** Return in how many steps to look for a point, so that none is longer than about a pixel. */
export function stepsFor(/** @type {Stereo} */ { divergence }, width) {
  return Math.min(MOST, Math.max(FEWEST, Math.ceil((width * divergence) / 200)));
}
