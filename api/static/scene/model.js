// The server's own model of a photo, as sheets that the 3D view draws.

import { frameOf } from "./relief.js";

/** The longer side of a texture: enough for a screen, and bounded for any graphics card. */
const SIDE = 4096;

/** @import { Primitive } from "./glb.js" */
/** @import { Sheet } from "./relief.js" */

/**
 * Return the sheets of a model, and by how many times its nearest distance the farthest point is farther away.
 *
 * Each point becomes its line of sight and its nearness, as those of a grid are. So its depth can be changed, and whatever
 * the field of view, the model fills the frame of the photo. Throws an Error if a point is not before the camera.
 *
 * @param {Primitive[]} primitives
 * @param {number} aspect
 */
export async function modelOf(primitives, aspect) {
  const { near, far, widest } = boundsOf(primitives);
  const scale = Math.max(...frameOf(aspect)) / 2 / widest;
  const sheets = await Promise.all(primitives.map(async ({ positions, places, triangles, picture }) => /** @type {Sheet} */ ({
    points: pointsOf(positions, { near, far, scale }), places, triangles, edges: null, picture: await open(picture),
  })));
  return { sheets, spread: far / near - 1 };
}

function boundsOf(primitives) {
  let [near, far, widest] = [Infinity, 0, 0];
  for (const { positions } of primitives) {
    for (let at = 0; at < positions.length; at += 3) {
      const away = -positions[at + 2];
      near = Math.min(near, away);
      far = Math.max(far, away);
      widest = Math.max(widest, Math.abs(positions[at] / away), Math.abs(positions[at + 1] / away));
    }
  }
  if (!(near > 0 && far < Infinity && widest > 0)) throw new Error("This model is not before the camera.");
  return { near, far, widest };
}

/** Return lines of sight and nearness `(x, y, nearness)` of points in space. */
export function pointsOf(/** @type {Float32Array} */ positions, { near, far, scale }) {
  const points = new Float32Array(positions.length);
  const gain = far > near ? 1 / (1 / near - 1 / far) : 0;
  for (let at = 0; at < positions.length; at += 3) {
    const away = -positions[at + 2];
    points[at] = (positions[at] / away) * scale;
    points[at + 1] = (positions[at + 1] / away) * scale;
    points[at + 2] = (1 / away - 1 / far) * gain;
  }
  return points;
}

async function open(blob) {
  const picture = await createImageBitmap(blob);
  const longer = Math.max(picture.width, picture.height);
  if (longer <= SIDE) return picture;
  const resized = await createImageBitmap(picture, { resizeWidth: Math.round((picture.width * SIDE) / longer), resizeQuality: "high" });
  picture.close();
  return resized;
}
