import assert from "node:assert/strict";
import { test } from "node:test";

import { COLORMAPS, gradientOf, pixelsOf } from "../../../api/static/viewer/colormaps.js";

/** Red, green, blue and opacity of an entry of a table. */
function colourAt(name, at, inverted = false) {
  return [...new Uint8Array(pixelsOf(name, inverted).buffer).subarray(4 * at, 4 * at + 4)];
}

test("inferno is the default, and all names are different", () => {
  assert.equal(COLORMAPS[0], "inferno");
  assert.equal(new Set(COLORMAPS).size, COLORMAPS.length);
});

for (const name of COLORMAPS) {
  test(`${name} has 256 opaque colours, and inverted the same ones backwards`, () => {
    const pixels = pixelsOf(name);

    assert.equal(pixels.length, 256);
    assert.deepEqual(pixelsOf(name, true), pixels.toReversed());
    assert.ok(pixels.every((pixel) => pixel >>> 24 === 255));
  });
}

test("the ends of the tables equal the originals", () => {
  assert.deepEqual(colourAt("inferno", 0), [0, 0, 4, 255]);
  assert.deepEqual(colourAt("inferno", 255), [252, 255, 164, 255]);
  assert.deepEqual(colourAt("spectral", 0), [0x5e, 0x4f, 0xa2, 255]);
  assert.deepEqual(colourAt("spectral", 255), [0x9e, 0x01, 0x42, 255]);
  assert.deepEqual(colourAt("gray", 77), [77, 77, 77, 255]);
});

test("a gradient goes from far to near, or back", () => {
  const [there, back] = [gradientOf("gray"), gradientOf("gray", "to top", true)];

  assert.match(there, /^linear-gradient\(to right, rgb\(0 0 0\), rgb\(16 16 16\), .*, rgb\(255 255 255\)\)$/);
  assert.match(back, /^linear-gradient\(to top, rgb\(255 255 255\), rgb\(240 240 240\), .*, rgb\(0 0 0\)\)$/);
});
