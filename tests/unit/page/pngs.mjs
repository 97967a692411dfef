// Write PNGs for tests with every filter, as in the specification (PNG 1.2).

import { deflateSync } from "node:zlib";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * Return a PNG as an ArrayBuffer. `rows` are its samples of `bits` each, the rows use `filters` in turn, and the data
 * are in `pieces` chunks.
 */
export function writePng(rows, { bits = 8, colour = bits === 8 ? 3 : 0, interlaced = 0, filters = [0], pieces = 1, lost = 0 } = {}) {
  const step = bits / 8;
  const plain = rows.map((row) => bytesOf(row, step));
  const none = new Uint8Array(plain[0].length);
  const raw = plain.flatMap((row, y) => filtered(row, plain[y - 1] ?? none, step, filters[y % filters.length]));
  const data = deflateSync(Uint8Array.from(raw.slice(0, raw.length - lost)));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, rows[0].length);
  header.setUint32(4, rows.length);
  for (const [at, value] of [bits, colour, 0, 0, interlaced].entries()) header.setUint8(8 + at, value);
  const size = Math.ceil(data.length / pieces);
  const chunks = Array.from({ length: pieces }, (_, at) => chunk("IDAT", data.subarray(at * size, (at + 1) * size)));
  return join([...SIGNATURE, ...chunk("IHDR", new Uint8Array(header.buffer)), ...chunks.flat(), ...chunk("IEND", [])]);
}

/** Return a file with only a signature. */
export function emptyPng() {
  return join([...SIGNATURE, ...chunk("IEND", [])]);
}

function join(bytes) {
  return Uint8Array.from(bytes).buffer;
}

function chunk(kind, data) {
  const size = data.length;
  // The checksum is not read here.
  return [size >>> 24, (size >>> 16) & 255, (size >>> 8) & 255, size & 255, ...Buffer.from(kind), ...data, 0, 0, 0, 0];
}

function bytesOf(row, step) {
  return Uint8Array.from(step === 1 ? row : row.flatMap((value) => [value >> 8, value & 255]));
}

function filtered(row, above, step, kind) {
  const left = (line, at) => (at >= step ? line[at - step] : 0);
  const guess = [
    () => 0,
    (at) => left(row, at),
    (at) => above[at],
    (at) => Math.floor((left(row, at) + above[at]) / 2),
    (at) => paeth(left(row, at), above[at], left(above, at)),
  ][kind] ?? (() => 0);
  return [kind, ...row.map((value, at) => value - guess(at))];
}

/** Return the Paeth predictor: left, above or upper left, whichever is nearest to left + above - upper left. */
function paeth(a, b, c) {
  const estimate = a + b - c;
  return [a, b, c].reduce((best, each) => (Math.abs(estimate - each) < Math.abs(estimate - best) ? each : best));
}
