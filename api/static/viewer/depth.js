// The depth of a photo as numbers, read from the most exact output that its job has.

import { ask, askBlob, paths } from "../api.js";
import { pixelsOf } from "./colormaps.js";
import { openPng } from "./png.js";
import { readNpy, readPfm } from "./raw.js";

/** The longer side of the depth that is kept: more than a screen shows, and bounded for any photo. */
const SIDE = 2048;
/** The longer side of pictures whose colours are looked up, which is slow and not exact anyway. */
const LOOKED_UP_SIDE = 1024;

/** @import { Job } from "../api.js" */
/** @typedef {{min: number, max: number, range: {low: number, high: number}}} Range */
/** @typedef {{job: Job, sidecar: any, output: string}} Context */
/** @typedef {(blob: Blob, context: Context) => Promise<Depth>} Read */

/**
 * The outputs that depth can be read from, the best first: exact and small, exact and large, estimated.
 * @type {[string, Read][]}
 */
const WAYS = [
  ["depth16", fromGray],
  ["heatmap", fromHeatmap],
  ["controlnet", fromShades],
  ["npy", fromRaw(readNpy)],
  ["pfm", fromRaw(readPfm)],
  ["thumbnail", fromThumbnail],
];

/**
 * The relative nearness of every pixel, row by row, from 0 (the farthest of the range) to 1 (the nearest).
 */
export class Depth {
  /**
   * @param {number} width
   * @param {number} height
   * @param {Float32Array} values
   * @param {string} source the output that it was read from
   */
  constructor(width, height, values, source) {
    this.width = width;
    this.height = height;
    this.values = values;
    this.source = source;
  }

  /** Return the nearness at a place, both coordinates 0 to 1. */
  at(u, v) {
    const x = Math.min(this.width - 1, Math.max(0, Math.floor(u * this.width)));
    const y = Math.min(this.height - 1, Math.max(0, Math.floor(v * this.height)));
    return this.values[y * this.width + x];
  }
}

/**
 * Return the depth of image `index` of a job, and its sidecar. The depth is null if the job has no output that holds it.
 * `signal` aborts the requests.
 */
export async function loadDepth(/** @type {Job} */ job, /** @type {number} */ index, /** @type {AbortSignal} */ signal) {
  const sidecar = await ask(paths.shown(job.id, index, "depth"), { signal });
  const ways = WAYS.filter(([output]) => job.options.outputs.includes(output));
  if (ways.length === 0) return { depth: null, sidecar };
  /** @type {unknown} */
  let reason = null;
  for (const [output, read] of ways) {
    try {
      const blob = await askBlob(paths.shown(job.id, index, output), { signal });
      return { depth: await read(blob, { job, sidecar, output }), sidecar };
    } catch (error) {
      if (signal.aborted) throw error;
      reason = error;
    }
  }
  throw reason;
}

/** Return the depth in an indexed heatmap of the page's own samples. */
export async function depthOfHeatmap(url) {
  const response = await fetch(url);
  return fromPng(await response.blob(), { output: "heatmap" });
}

async function fromPng(/** @type {Blob} */ blob, { output }, { gain = 1, offset = 0 } = {}) {
  const { width, height, read } = openPng(await blob.arrayBuffer());
  const reduced = new Reduction(width, height, SIDE);
  await read((y, values) => reduced.add(y, values));
  return reduced.finish(output, gain, offset);
}

/** Its values range from the least to the greatest depth; the range of the colours may differ. */
async function fromGray(blob, context) {
  const { min, max } = context.sidecar;
  const { gain, offset } = intoRange(context.sidecar);
  return fromPng(blob, context, { gain: gain * (max - min), offset: offset + gain * min });
}

/** The indices of an indexed heatmap are the depth, whatever colours its palette holds. */
async function fromHeatmap(blob, context) {
  return blob.type === "image/jpeg" ? lookUp(await createImageBitmap(blob), 0, context) : fromPng(blob, context);
}

async function fromThumbnail(blob, context) {
  return lookUp(await createImageBitmap(blob), 0.5, context);
}

function fromRaw(read) {
  return async (blob, { sidecar, output }) => {
    const { width, height, row } = read(await blob.arrayBuffer());
    const reduced = new Reduction(width, height, SIDE);
    for (let y = 0; y < height; y += 1) reduced.add(y, row(y));
    const { gain, offset } = intoRange(sidecar);
    return reduced.finish(output, gain, offset);
  };
}

/** Return the gain and offset that map relative inverse depth in the range of the colours to 0 to 1. */
function intoRange({ range: { low, high } }) {
  const gain = high > low ? 1 / (high - low) : 0;
  return { gain, offset: -low * gain };
}

/** Averages squares of pixels, so that the depth of a photo of any size fits. */
class Reduction {
  constructor(width, height, side) {
    this.full = { width, height };
    this.factor = Math.ceil(Math.max(width, height) / side);
    this.width = Math.ceil(width / this.factor);
    this.height = Math.ceil(height / this.factor);
    this.values = new Float32Array(this.width * this.height);
  }

  add(y, row) {
    const { factor, values, width } = this;
    const start = Math.floor(y / factor) * width;
    if (factor === 1) return values.set(row, start);
    for (let x = 0, to = start, left = factor; x < row.length; x += 1) {
      values[to] += row[x];
      left -= 1;
      if (left === 0) {
        to += 1;
        left = factor;
      }
    }
  }

  /** Return the averages times `gain` plus `offset`, clamped to 0 to 1. */
  finish(source, gain, offset) {
    const { factor, full, width, height, values } = this;
    for (let y = 0, at = 0; y < height; y += 1) {
      const rows = Math.min(factor, full.height - y * factor);
      for (let x = 0; x < width; x += 1, at += 1) {
        const pixels = rows * Math.min(factor, full.width - x * factor);
        values[at] = Math.min(1, Math.max(0, (values[at] / pixels) * gain + offset));
      }
    }
    return new Depth(width, height, values, source);
  }
}

/** Its 256 shades range over the photo's depth, or over that of the whole job if the job was normalised so. */
async function fromShades(blob, { job, sidecar, output }) {
  const { width, height, data } = readPixels(await createImageBitmap(blob), 0);
  const { low, high } = job.options.normalize === "job" ? sidecar.range : { low: sidecar.min, high: sidecar.max };
  const { gain, offset } = intoRange(sidecar);
  const nearness = (shade) => Math.min(1, Math.max(0, (low + (shade / 255) * (high - low)) * gain + offset));
  return new Depth(width, height, Float32Array.from({ length: width * height }, (_, at) => nearness(data[4 * at])), output);
}

/** Return the pixels of a picture from the share `from` of its width on, reduced if it is large. */
function readPixels(picture, from) {
  const sourceWidth = picture.width * (1 - from);
  const scale = Math.min(1, LOOKED_UP_SIDE / Math.max(sourceWidth, picture.height));
  const [width, height] = [Math.round(sourceWidth * scale), Math.round(picture.height * scale)];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("There is no canvas to read colours with.");
  context.drawImage(picture, picture.width * from, 0, sourceWidth, picture.height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Find the closest colour of the job's map for every pixel. The heatmap begins at the share `from` of the width. */
function lookUp(picture, from, { job, output }) {
  const { width, height, data } = readPixels(picture, from);
  const nearest = new NearestColour(pixelsOf(job.options.colormap, job.options.invert));
  const values = new Float32Array(width * height);
  for (let at = 0; at < values.length; at += 1) {
    values[at] = nearest.find(data[4 * at], data[4 * at + 1], data[4 * at + 2]) / 255;
  }
  return new Depth(width, height, values, output);
}

/** Finds the closest colour in a table. Colours that differ only in their last two bits share an answer. */
class NearestColour {
  constructor(pixels) {
    this.colours = new Uint8Array(pixels.buffer);
    this.known = new Int16Array(1 << 18).fill(-1);
  }

  find(red, green, blue) {
    const key = ((red >> 2) << 12) | ((green >> 2) << 6) | (blue >> 2);
    if (this.known[key] < 0) this.known[key] = this.#search(red, green, blue);
    return this.known[key];
  }

  #search(red, green, blue) {
    let [best, least] = [0, Infinity];
    for (let at = 0; at < 256; at += 1) {
      const [r, g, b] = [this.colours[4 * at] - red, this.colours[4 * at + 1] - green, this.colours[4 * at + 2] - blue];
      const distance = r * r + g * g + b * b;
      if (distance < least) [best, least] = [at, distance];
    }
    return best;
  }
}
