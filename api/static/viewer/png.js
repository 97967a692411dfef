// Reads the PNGs that the workers write. A canvas would give 8-bit colours, but the page needs the numbers behind
// them: the index into the palette, or the 16 bits of gray.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GRAYSCALE = 0;
const INDEXED = 3;

/** @typedef {{width: number, height: number, bytesPerPixel: number}} Header */

/** The file is not a PNG of the kinds read here. */
class NotOurPng extends Error {}

/** @typedef {(y: number, values: Float32Array) => void} OnRow */

/**
 * Open an 8-bit indexed or a 16-bit grayscale PNG that is not interlaced (PNG 1.2, W3C 2003).
 *
 * `read(onRow)` calls `onRow(y, values)` for every row, top to bottom. The values, 0 to 1, are valid until the next call.
 * It holds two rows at a time, whatever the size. Both throw NotOurPng.
 */
export function openPng(/** @type {ArrayBuffer} */ buffer) {
  const { header, data } = readChunks(buffer);
  const { width, height } = header;
  return { width, height, read: (/** @type {OnRow} */ onRow) => readRows(header, data, onRow) };
}

async function readRows(/** @type {Header} */ header, /** @type {BlobPart[]} */ data, /** @type {OnRow} */ onRow) {
  const rows = new Rows(header, onRow);
  const inflated = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  // Safari cannot iterate over streams.
  for (const reader = inflated.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    rows.take(value);
  }
  if (rows.y !== header.height) throw new NotOurPng("The PNG ends too early.");
}

function readChunks(/** @type {ArrayBuffer} */ buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (SIGNATURE.some((byte, at) => bytes[at] !== byte)) throw new NotOurPng("This is no PNG.");
  const data = [];
  /** @type {Header | null} */
  let header = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") header = readHeader(view, at + 8);
    if (kind === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + size));
    at += 12 + size;
  }
  if (header === null) throw new NotOurPng("The PNG has no header.");
  return { header, data };
}

function readHeader(/** @type {DataView} */ view, /** @type {number} */ at) {
  const [bits, colour, interlaced] = [view.getUint8(at + 8), view.getUint8(at + 9), view.getUint8(at + 12)];
  const known = (bits === 8 && colour === INDEXED) || (bits === 16 && colour === GRAYSCALE);
  if (!known || interlaced !== 0) throw new NotOurPng("The PNG is of another kind.");
  return { width: view.getUint32(at), height: view.getUint32(at + 4), bytesPerPixel: bits / 8 };
}

/** Cuts the inflated bytes into rows and undoes their filters. */
class Rows {
  constructor({ width, height, bytesPerPixel }, onRow) {
    this.height = height;
    this.step = bytesPerPixel;
    this.onRow = onRow;
    this.y = 0;
    this.filled = 0;
    this.row = new Uint8Array(1 + width * bytesPerPixel);
    this.above = new Uint8Array(1 + width * bytesPerPixel);
    this.values = new Float32Array(width);
  }

  take(piece) {
    for (let from = 0; from < piece.length && this.y < this.height; ) {
      const part = piece.subarray(from, from + this.row.length - this.filled);
      this.row.set(part, this.filled);
      this.filled += part.length;
      from += part.length;
      if (this.filled === this.row.length) this.#finish();
    }
  }

  #finish() {
    unfilter(this.row, this.above, this.step);
    this.#scale();
    this.onRow(this.y, this.values);
    [this.row, this.above] = [this.above, this.row];
    this.filled = 0;
    this.y += 1;
  }

  #scale() {
    const { row, values, step } = this;
    if (step === 1) for (let x = 0; x < values.length; x += 1) values[x] = row[x + 1] / 255;
    else for (let x = 0; x < values.length; x += 1) values[x] = (256 * row[2 * x + 1] + row[2 * x + 2]) / 65535;
  }
}

/** Undo the filter named in the row's first byte (PNG 1.2, section 9). */
function unfilter(row, above, step) {
  const kind = row[0];
  if (kind === 1) for (let at = 1 + step; at < row.length; at += 1) row[at] += row[at - step];
  else if (kind === 2) for (let at = 1; at < row.length; at += 1) row[at] += above[at];
  else if (kind === 3) {
    for (let at = 1; at < row.length; at += 1) row[at] += (left(row, at, step) + above[at]) >> 1;
  } else if (kind === 4) {
    for (let at = 1; at < row.length; at += 1) {
      row[at] += paeth(left(row, at, step), above[at], at > step ? above[at - step] : 0);
    }
  } else if (kind !== 0) throw new NotOurPng("The PNG has an unknown filter.");
}

function left(row, at, step) {
  return at > step ? row[at - step] : 0;
}

function paeth(a, b, c) {
  const estimate = a + b - c;
  const [fromA, fromB, fromC] = [Math.abs(estimate - a), Math.abs(estimate - b), Math.abs(estimate - c)];
  if (fromA <= fromB && fromA <= fromC) return a;
  return fromB <= fromC ? b : c;
}
