// What the server can make of one photo, how to ask for it, and what the file is called.

import { baseName } from "../format.js";

/**
 * What is shown before it is made, and its options.
 * @typedef {object} Settings
 * @property {number} divergence disparity between the nearest and the farthest point, in per cent of the width
 * @property {number} convergence where the screen is: 0 at the farthest point, 1 at the nearest
 * @property {number} ratio how many times as far as the nearest point the farthest one is
 * @property {number} aperture the radius of the strongest blur, in per cent of the longer side
 * @property {string} motion how the camera of a clip moves
 * @property {number} amount how far the nearest point moves past the farthest one in a clip, in per cent of the width
 * @property {number[]} focus the place that is sharp, from the left and from the top, 0 to 1
 */
/** @typedef {{output: string, ending: string, options?: (settings: Settings) => Record<string, string>}} Order */

/** @type {Settings} */
export const DEFAULTS = { divergence: 2, convergence: 0.5, ratio: 6, aperture: 1, motion: "orbit", amount: 2, focus: [0.5, 0.5] };

const stereo = (/** @type {string} */ layout) => (/** @type {Settings} */ { divergence, convergence }) => ({
  "stereo.layout": layout, "stereo.divergence": String(divergence), "stereo.convergence": String(convergence),
});

/**
 * Everything on offer. `ending` follows the photo's own name, as in fathom/result_names.py; a test compares the two.
 * @type {Record<string, Order>}
 */
export const ORDERS = {
  anaglyph: { output: "stereo", ending: "_redcyan.jpg", options: stereo("anaglyph") },
  wiggle: { output: "stereo", ending: "_LRF_Full_SBS.jpg", options: stereo("sbs_full") },
  normals: { output: "normals", ending: ".normals.png", options: ({ ratio }) => ({ "normals.depth_ratio": String(ratio) }) },
  refocus: {
    output: "refocus", ending: ".refocus.jpg",
    options: ({ focus, aperture }) => ({ "refocus.focus": focus.map((share) => share.toFixed(4)).join(","), "refocus.aperture": String(aperture) }),
  },
  headset: { output: "stereo", ending: "_LRF_Full_SBS.jpg", options: stereo("sbs_full") },
  mesh: { output: "mesh", ending: ".glb" },
  cloud: { output: "cloud", ending: ".ply" },
  layers: { output: "layers", ending: ".psd" },
  exr: { output: "exr", ending: ".exr" },
  clip: {
    output: "clip", ending: ".clip.mp4",
    options: ({ motion, amount }) => ({ "clip.motion": motion, "clip.amount": String(Number(amount.toFixed(2))) }),
  },
  embedded: { output: "embedded", ending: ".embedded.jpg" },
};

/** Those that the page can show before they are made, and the others. */
export const PREVIEWED = ["anaglyph", "wiggle", "normals", "refocus"];
export const OTHERS = ["headset", "mesh", "cloud", "layers", "clip", "exr", "embedded"];

/**
 * Return the query of `POST /v1/depth` for an order. The depth is made as that of the job was.
 *
 * @param {Order} order
 * @param {Settings} settings
 * @param {{edges?: string, depth_source?: string, model?: string}} jobOptions
 */
export function queryOf({ output, options }, settings, { edges, depth_source, model } = {}) {
  const same = Object.entries({ edges, depth_source, model }).filter(([, value]) => value !== undefined);
  return new URLSearchParams({ output, ...Object.fromEntries(same), ...options?.(settings) }).toString();
}

/**
 * Return the name to save a file under: the server's, if that is made from the photo's name, else the photo's name with
 * the ending by which other programs know such files.
 */
export function saveName(/** @type {string} */ photo, /** @type {string | null} */ served, /** @type {string} */ ending) {
  const stem = baseName(photo).replace(/(?<=.)\.[^.]*$/, "");
  return served?.startsWith(stem) ? served : stem + ending;
}

/** Return the file name in a Content-Disposition header (RFC 6266), or null. */
export function nameIn(/** @type {string | null} */ disposition) {
  const full = /filename\*=UTF-8''([^;]+)/i.exec(disposition ?? "");
  const plain = /filename="?([^";]+)"?/i.exec(disposition ?? "");
  return full ? decodeURIComponent(full[1]) : (plain?.[1] ?? null);
}
