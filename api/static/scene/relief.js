// A photo displaced by its depth: a grid of points, cut where depth steps, so that nothing is stretched from a near thing
// to what is behind it.

import { Backdrop } from "./backdrop.js";

/** Points along the longer side of the grid. */
const POINTS = 448;
/** Neighbours whose nearness differs by more belong to different things. */
export const STEP = 0.1;
/** How often steps are sharpened, each time by one point to each side. */
const ROUNDS = 2;
/** Nearness that differs by less is averaged, because 8 bits have visible steps. */
const ALIKE = 0.025;

/** @import { Depth } from "../viewer/depth.js" */
/**
 * Triangles before the camera. `points` holds a line of sight and a nearness for each vertex, `(x, y, nearness)`; `places`
 * where it is in `picture`, from the top left. `edges` holds a side and a nearness: pixels of a vertex with side 1 are only
 * shown where the depth is at least as near, and those of -1 where it is farther; 0 shows all.
 * @typedef {object} Sheet
 * @property {Float32Array} points
 * @property {Float32Array} places
 * @property {Float32Array | null} edges
 * @property {Uint32Array} triangles
 * @property {TexImageSource} picture
 */

/** Return width and height of a photo as its lines of sight see it, at distance 1; the shorter one is 1. */
export function frameOf(/** @type {number} */ aspect) {
  return [Math.max(1, aspect), Math.max(1, 1 / aspect)];
}

/** The surface of a photo and what is behind its edges, for any picture of its proportions. */
export class Relief {
  constructor(/** @type {Depth} */ depth) {
    const aspect = depth.width / depth.height;
    const points = Math.min(POINTS, Math.max(depth.width, depth.height));
    const columns = Math.max(2, Math.round(aspect >= 1 ? points : points * aspect));
    const rows = Math.max(2, Math.round(aspect >= 1 ? points / aspect : points));
    const map = soften(sharpen({ columns, rows, values: sample(depth, columns, rows) }));
    this.surface = makeGrid(map, frameOf(aspect));
    this.backdrop = new Backdrop(map, frameOf(aspect));
  }

  /** Return the sheets to draw, the farthest first. */
  sheets(/** @type {ImageBitmap | HTMLCanvasElement} */ picture) {
    return [this.backdrop.sheet(picture), /** @type {Sheet} */ ({ ...this.surface, picture })];
  }
}

/** @typedef {{columns: number, rows: number, values: Float32Array}} Grid */

function sample(depth, columns, rows) {
  return Float32Array.from({ length: columns * rows }, (_, at) => depth.at((at % columns) / (columns - 1), Math.floor(at / columns) / (rows - 1)));
}

/**
 * Return a map whose steps have no ramp: each point takes the nearer of both extremes around it, where they differ (Kramer
 * and Bruckner, Iterations of a Non-Linear Transformation for Enhancement of Digital Images, 1975).
 */
export function sharpen(/** @type {Grid} */ { columns, rows, values }) {
  let sharp = values;
  for (let round = 0; round < ROUNDS; round += 1) {
    const [low, high] = [Math.min, Math.max].map((choose) => around({ columns, rows, values: sharp }, choose));
    sharp = sharp.map((value, at) => {
      if (high[at] - low[at] <= STEP) return value;
      return high[at] - value < value - low[at] ? high[at] : low[at];
    });
  }
  return { columns, rows, values: sharp };
}

/** Replace every value by the choice among its neighbours in a square of 3 x 3. */
function around({ columns, rows, values }, choose) {
  const along = (from, stride, place, length) => from.map((value, at) => {
    const here = place(at);
    let chosen = value;
    for (let by = -Math.min(1, here); by <= Math.min(1, length - 1 - here); by += 1) chosen = choose(chosen, from[at + by * stride]);
    return chosen;
  });
  return along(along(values, 1, (at) => at % columns, columns), columns, (at) => Math.floor(at / columns), rows);
}

/** Average each value with those neighbours that are about the same. */
function soften({ columns, rows, values }) {
  const average = (from, stride, place, length) => from.map((value, at) => {
    const here = place(at);
    let [sum, count] = [0, 0];
    for (let by = -Math.min(3, here); by <= Math.min(3, length - 1 - here); by += 1) {
      const other = from[at + by * stride];
      if (Math.abs(other - value) > ALIKE) continue;
      sum += other;
      count += 1;
    }
    return sum / count;
  });
  const across = average(values, 1, (at) => at % columns, columns);
  return { columns, rows, values: average(across, columns, (at) => Math.floor(at / columns), rows) };
}

/**
 * Return the triangles over a map. A cell whose corners differ by more than STEP lies on an edge. It is drawn twice: once as
 * near as its near corners, once as far as its far ones, and each pixel shows the one that it belongs to.
 */
export function makeGrid(/** @type {Grid} */ { columns, rows, values }, /** @type {number[]} */ frame) {
  const sheet = new Vertices(frame);
  for (let at = 0; at < values.length; at += 1) sheet.add((at % columns) / (columns - 1), Math.floor(at / columns) / (rows - 1), values[at]);
  for (let y = 0; y < rows - 1; y += 1) {
    for (let x = 0; x < columns - 1; x += 1) {
      const at = y * columns + x;
      const corners = [at, at + 1, at + columns, at + columns + 1];
      const near = corners.map((corner) => values[corner]);
      const [low, high] = [Math.min(...near), Math.max(...near)];
      if (high - low > STEP) sheet.cut(corners, near, (low + high) / 2);
      else sheet.square(corners);
    }
  }
  return sheet.finish();
}

class Vertices {
  constructor(frame) {
    this.frame = frame;
    this.points = /** @type {number[]} */ ([]);
    this.places = /** @type {number[]} */ ([]);
    this.edges = /** @type {number[]} */ ([]);
    this.triangles = /** @type {number[]} */ ([]);
  }

  /** Add a vertex and return its number. */
  add(u, v, nearness, side = 0, middle = 0) {
    this.points.push((u - 0.5) * this.frame[0], (0.5 - v) * this.frame[1], nearness);
    this.places.push(u, v);
    this.edges.push(side, middle);
    return this.edges.length / 2 - 1;
  }

  square(/** @type {number[]} */ [a, b, c, d]) {
    this.triangles.push(a, c, b, b, c, d);
  }

  /** Draw a cell on an edge as its near part and its far part. */
  cut(corners, near, middle) {
    for (const side of [1, -1]) {
      const own = near.filter((value) => (value - middle) * side >= 0);
      const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
      this.square(corners.map((corner, at) => {
        const value = (near[at] - middle) * side >= 0 ? near[at] : mean;
        return this.add(this.places[2 * corner], this.places[2 * corner + 1], value, side, middle);
      }));
    }
  }

  finish() {
    return {
      points: Float32Array.from(this.points), places: Float32Array.from(this.places),
      edges: Float32Array.from(this.edges), triangles: Uint32Array.from(this.triangles),
    };
  }
}
