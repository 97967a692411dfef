import assert from "node:assert/strict";
import { test } from "node:test";

import { openPng } from "../../../api/static/viewer/png.js";
import { emptyPng, writePng } from "./pngs.mjs";

/** Return numbers without a pattern for filters, always the same. */
function noise(width, height, most) {
  let seed = 7;
  const next = () => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return (seed >> 8) % (most + 1);
  };
  return Array.from({ length: height }, () => Array.from({ length: width }, next));
}

async function readAll(buffer) {
  const { width, height, read } = openPng(buffer);
  const rows = [];
  await read((y, values) => { rows[y] = [...values]; });
  return { width, height, rows };
}

for (const [bits, most] of [[8, 255], [16, 65535]]) {
  for (const filters of [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]]) {
    test(`numbers of ${bits} bits come out exactly under the filters ${filters}`, async () => {
      const rows = noise(9, 7, most);

      const found = await readAll(writePng(rows, { bits, filters }));

      assert.deepEqual([found.width, found.height], [9, 7]);
      assert.deepEqual(found.rows, rows.map((row) => row.map((value) => Math.fround(value / most))));
    });
  }
}

test("the correct one of equal predictors is used", async () => {
  const rows = noise(30, 30, 6);

  const found = await readAll(writePng(rows, { filters: [4] }));

  assert.deepEqual(found.rows, rows.map((row) => row.map((value) => Math.fround(value / 255))));
});

test("data may come in any number of pieces", async () => {
  const rows = noise(40, 30, 255);

  assert.deepEqual((await readAll(writePng(rows, { pieces: 13 }))).rows, (await readAll(writePng(rows))).rows);
});

test("a picture of one pixel is a picture", async () => {
  assert.deepEqual((await readAll(writePng([[255]]))).rows, [[1]]);
});

for (const [what, options] of [
  ["in colours of their own", { colour: 2 }], ["of 8 bits of gray", { colour: 0 }],
  ["of 16 bits with a palette", { bits: 16, colour: 3 }], ["interlaced", { interlaced: 1 }],
]) {
  test(`pictures ${what} are refused before anything is read`, () => {
    assert.throws(() => openPng(writePng([[0]], options)), /of another kind/);
  });
}

test("a file that is not a PNG is refused", () => {
  assert.throws(() => openPng(new Uint8Array([255, 216, 255, 224, 0, 0, 0, 0, 0]).buffer), /no PNG/);
  assert.throws(() => openPng(new ArrayBuffer(0)), /no PNG/);
  assert.throws(() => openPng(emptyPng()), /no header/);
});

test("a picture that ends too early is refused", async () => {
  await assert.rejects(readAll(writePng(noise(5, 5, 255), { lost: 3 })), /ends too early/);
});

test("a filter that does not exist is refused", async () => {
  await assert.rejects(readAll(writePng([[1, 2]], { filters: [5] })), /unknown filter/);
});
