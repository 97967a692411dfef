// A photo displaced by its depth: a grid of points, cut where depth steps, so that nothing is stretched from a near thing
// to what is behind it.

import { Backdrop } from "./backdrop.js";
import { around, averages } from "./windows.js";

/** Points along the longer side of the grid. */
const POINTS = 384;
/** Neighbours whose nearness differs by more belong to different things. */
export const STEP = 0.1;
/** How often steps are sharpened, each time by one point to each side. */
const ROUNDS = 2;
/** Nearness that differs by less is averaged over so many points to each side, because 8 bits have visible steps. */
const [ALIKE, SOFT] = [0.025, 3];

/** @import { Depth } from "../viewer/depth.js" */
/** @import { Grid } from "./windows.js" */
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
    const sharp = sharpen({ columns, rows, values: sample(depth, columns, rows) });
    const map = { columns, rows, values: averages(sharp, SOFT, ALIKE) };
    this.surface = makeGrid(map, frameOf(aspect));
    this.backdrop = new Backdrop(map, frameOf(aspect));
  }

  /** Return the sheets to draw, the farthest first. */
  sheets(/** @type {ImageBitmap | HTMLCanvasElement} */ picture) {
    return [this.backdrop.sheet(picture), /** @type {Sheet} */ ({ ...this.surface, picture })];
  }
}

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
    const [low, high] = [Math.min, Math.max].map((choose) => around({ columns, rows, values: sharp }, 1, choose));
    sharp = sharp.map((value, at) => {
      if (high[at] - low[at] <= STEP) return value;
      return high[at] - value < value - low[at] ? high[at] : low[at];
    });
  }
  return { columns, rows, values: sharp };
}

/**
 * Return the triangles over a map. A cell whose corners differ by more than STEP lies on an edge. It is drawn twice: once as
 * near as its near corners, once as far as its far ones, and each pixel shows the one that it belongs to.
 */
export function makeGrid(/** @type {Grid} */ { columns, rows, values }, /** @type {number[]} */ frame) {
  const cells = (columns - 1) * (rows - 1);
  const cuts = countSteps({ columns, rows, values });
  const sheet = new Vertices(frame, values.length + 8 * cuts, cells + cuts);
  for (let y = 0, at = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1, at += 1) sheet.add(x / (columns - 1), y / (rows - 1), values[at], 0, 0);
  }
  for (let y = 0; y < rows - 1; y += 1) {
    for (let x = 0; x < columns - 1; x += 1) {
      const at = y * columns + x;
      if (stepAt(values, at, columns) <= STEP) sheet.square(at, at + 1, at + columns, at + columns + 1);
      else sheet.cut([at, at + 1, at + columns, at + columns + 1], values);
    }
  }
  return sheet.finish();
}

function countSteps({ columns, rows, values }) {
  let count = 0;
  for (let y = 0; y < rows - 1; y += 1) {
    for (let x = 0; x < columns - 1; x += 1) if (stepAt(values, y * columns + x, columns) > STEP) count += 1;
  }
  return count;
}

/** Return by how much the corners of a cell differ. */
function stepAt(values, at, columns) {
  const [a, b, c, d] = [values[at], values[at + 1], values[at + columns], values[at + columns + 1]];
  return Math.max(a, b, c, d) - Math.min(a, b, c, d);
}

/** Collects the vertices and the squares of a sheet, whose numbers are known. */
class Vertices {
  constructor(/** @type {number[]} */ frame, vertices, squares) {
    this.frame = frame;
    this.points = new Float32Array(3 * vertices);
    this.places = new Float32Array(2 * vertices);
    this.edges = new Float32Array(2 * vertices);
    this.triangles = new Uint32Array(6 * squares);
    this.vertices = 0;
    this.squares = 0;
  }

  /** Add a vertex and return its number. */
  add(u, v, nearness, side, middle) {
    const at = this.vertices;
    this.points[3 * at] = (u - 0.5) * this.frame[0];
    this.points[3 * at + 1] = (0.5 - v) * this.frame[1];
    this.points[3 * at + 2] = nearness;
    this.places[2 * at] = u;
    this.places[2 * at + 1] = v;
    this.edges[2 * at] = side;
    this.edges[2 * at + 1] = middle;
    this.vertices += 1;
    return at;
  }

  square(a, b, c, d) {
    const { triangles, squares } = this;
    const to = 6 * squares;
    triangles[to] = a;
    triangles[to + 1] = triangles[to + 4] = c;
    triangles[to + 2] = triangles[to + 3] = b;
    triangles[to + 5] = d;
    this.squares += 1;
  }

  /** Draw a cell on an edge as its near part and its far part. */
  cut(corners, values) {
    const near = corners.map((corner) => values[corner]);
    const middle = (Math.min(...near) + Math.max(...near)) / 2;
    for (const side of [1, -1]) {
      const isOwn = (value) => (value - middle) * side >= 0;
      const own = near.filter(isOwn);
      const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
      const [a, b, c, d] = corners.map((corner, at) =>
        this.add(this.places[2 * corner], this.places[2 * corner + 1], isOwn(near[at]) ? near[at] : mean, side, middle));
      this.square(a, b, c, d);
    }
  }

  finish() {
    const { points, places, edges, triangles } = this;
    return { points, places, edges, triangles };
  }
}
