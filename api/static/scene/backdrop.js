// What may be behind the near things of a photo: the background around them, softly continued.

import { around } from "./windows.js";

/** @import { Sheet } from "./relief.js" */
/** @import { Grid } from "./windows.js" */

/** Points along the longer side, and pixels of the picture on them. */
const SIDE = 160;
/** How far behind an edge the background is continued, as a share of the longer side: more than the eye's step shows. */
const REACH = 0.1;
/** A point is before another thing if it is nearer by more than this. */
const BEFORE = 0.1;
/** Points beside a near thing that may have some of its colour. */
const FRINGE = 2;
/** How much farther than the surface the backdrop is at least, so that the surface hides it. */
const BEHIND = 0.02;

/** The backdrop of a map. */
export class Backdrop {
  constructor(/** @type {Grid} */ map, /** @type {number[]} */ frame) {
    const longer = Math.max(map.columns, map.rows);
    const scale = Math.min(1, SIDE / longer);
    this.columns = Math.max(2, Math.round(map.columns * scale));
    this.rows = Math.max(2, Math.round(map.rows * scale));
    const nearness = reduce(map, this.columns, this.rows);
    const grid = { columns: this.columns, rows: this.rows };
    const reach = Math.max(1, Math.round(REACH * Math.max(this.columns, this.rows)));
    const [lowest, highest] = [Math.min, Math.max].map((choose) => around({ ...grid, values: nearness }, reach, choose));
    /** 1 where the photo shows the background, 0 where something is before it. */
    this.known = around({ ...grid, values: nearness.map((value, at) => (value - lowest[at] > BEFORE ? 0 : 1)) }, FRINGE, Math.min);
    /** 1 where the background is beside something near, so that it continues behind it. */
    this.sources = this.known.map((known, at) => (known && highest[at] - nearness[at] > BEFORE ? 1 : 0));
    const continued = this.#continue(nearness);
    this.geometry = geometryOf(grid, continued.map((value, at) => Math.min(value, nearness[at]) - BEHIND), frame);
  }

  /** Return the sheet with the background of a picture on it. */
  sheet(/** @type {ImageBitmap | HTMLCanvasElement} */ picture) {
    return /** @type {Sheet} */ ({ ...this.geometry, edges: null, picture: this.#paint(picture) });
  }

  /** Replace values where something is before the background. */
  #continue(/** @type {Float32Array} */ values) {
    const { columns, rows, known, sources } = this;
    if (!sources.includes(1)) return values;
    const filled = fill({ columns, rows, values }, sources);
    return values.map((value, at) => (known[at] ? value : filled[at]));
  }

  #paint(picture) {
    const { columns, rows } = this;
    const canvas = new OffscreenCanvas(columns, rows);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("There is no canvas to continue the background in.");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, columns, rows);
    const pixels = context.getImageData(0, 0, columns, rows);
    for (const channel of [0, 1, 2]) {
      const values = Float32Array.from({ length: columns * rows }, (_, at) => pixels.data[4 * at + channel]);
      this.#continue(values).forEach((value, at) => { pixels.data[4 * at + channel] = value; });
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }
}

/** Return the farthest value of each square of a map. */
function reduce(map, columns, rows) {
  const values = new Float32Array(columns * rows).fill(Infinity);
  for (let at = 0; at < map.values.length; at += 1) {
    const x = Math.floor(((at % map.columns) * columns) / map.columns);
    const y = Math.floor((Math.floor(at / map.columns) * rows) / map.rows);
    values[y * columns + x] = Math.min(values[y * columns + x], map.values[at]);
  }
  return values;
}

/**
 * Return values whose unknown ones are continued smoothly from the known: averages of the known at half the size, filled in
 * the same way, and enlarged (pull-push: Gortler et al., The Lumigraph, 1996, section 3.4.2).
 */
export function fill(/** @type {Grid} */ { columns, rows, values }, /** @type {Float32Array} */ known) {
  if (known.every((weight) => weight > 0)) return values;
  if (columns === 1 && rows === 1) return values;
  const half = { columns: Math.ceil(columns / 2), rows: Math.ceil(rows / 2) };
  const [sums, weights] = [new Float32Array(half.columns * half.rows), new Float32Array(half.columns * half.rows)];
  for (let at = 0; at < values.length; at += 1) {
    const to = (Math.floor(at / columns) >> 1) * half.columns + ((at % columns) >> 1);
    sums[to] += known[at] * values[at];
    weights[to] += known[at];
  }
  const coarse = fill({ ...half, values: sums.map((sum, at) => (weights[at] > 0 ? sum / weights[at] : 0)) }, weights.map((weight) => Math.min(1, weight)));
  return values.map((value, at) => {
    if (known[at] >= 1) return value;
    const smooth = between({ ...half, values: coarse }, ((at % columns) - 0.5) / 2, (Math.floor(at / columns) - 0.5) / 2);
    return known[at] * value + (1 - known[at]) * smooth;
  });
}

/** Return the value of a map at a place between its points. */
function between({ columns, rows, values }, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const at = (column, row) => values[Math.min(rows - 1, Math.max(0, row)) * columns + Math.min(columns - 1, Math.max(0, column))];
  const mix = (a, b, share) => a + (b - a) * share;
  return mix(mix(at(left, top), at(left + 1, top), x - left), mix(at(left, top + 1), at(left + 1, top + 1), x - left), y - top);
}

function geometryOf({ columns, rows }, nearness, frame) {
  const [points, places, triangles] = [new Float32Array(3 * nearness.length), new Float32Array(2 * nearness.length), new Uint32Array(6 * (columns - 1) * (rows - 1))];
  nearness.forEach((value, at) => {
    const [u, v] = [(at % columns) / (columns - 1), Math.floor(at / columns) / (rows - 1)];
    points.set([(u - 0.5) * frame[0], (0.5 - v) * frame[1], value], 3 * at);
    places.set([u, v], 2 * at);
  });
  for (let y = 0, to = 0; y < rows - 1; y += 1) {
    for (let x = 0; x < columns - 1; x += 1, to += 6) {
      const at = y * columns + x;
      triangles.set([at, at + columns, at + 1, at + 1, at + columns, at + columns + 1], to);
    }
  }
  return { points, places, triangles };
}
