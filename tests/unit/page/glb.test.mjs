import assert from "node:assert/strict";
import { test } from "node:test";

import { readGlb } from "../../../api/static/scene/glb.js";
import { pointsOf } from "../../../api/static/scene/model.js";
import { writeGlb } from "./glbs.mjs";

const SQUARE = {
  positions: [[-1, 1, -2], [1, 1, -2], [-1, -1, -2], [1, -1, -2]], places: [[0, 0], [1, 0], [0, 1], [1, 1]],
  triangles: [[0, 2, 1], [1, 2, 3]], picture: "the photo",
};
const TRIANGLE = { positions: [[0, 0, -4], [1, 0, -4], [0, 1, -4]], places: [[0.5, 0.5], [1, 0.5], [0.5, 0]], triangles: [[0, 1, 2]], picture: "odd" };

test("every mesh is read with its picture", async () => {
  const [square, triangle, ...others] = readGlb(writeGlb([SQUARE, TRIANGLE]));

  assert.deepEqual(others, []);
  assert.deepEqual([...square.positions], SQUARE.positions.flat());
  assert.deepEqual([...square.places], SQUARE.places.flat());
  assert.deepEqual([...square.triangles], SQUARE.triangles.flat());
  assert.deepEqual([...triangle.positions], TRIANGLE.positions.flat());
  assert.deepEqual([square.picture.type, await square.picture.text(), await triangle.picture.text()], ["image/jpeg", "the photo", "odd"]);
});

test("indices may have one, two or four bytes", () => {
  for (const IndexArray of [Uint8Array, Uint16Array, Uint32Array]) {
    const [{ triangles }] = readGlb(writeGlb([SQUARE], { IndexArray }));

    assert.deepEqual([...triangles], SQUARE.triangles.flat());
  }
});

test("numbers are read from the offset of their accessor", () => {
  const [{ triangles }] = readGlb(writeGlb([SQUARE], { change: ({ accessors }) => Object.assign(accessors[2], { byteOffset: 6, count: 3 }) }));

  assert.deepEqual([...triangles], [1, 2, 3]);
});

test("files of other kinds are refused", () => {
  assert.throws(() => readGlb(new ArrayBuffer(8)), /no GLB/);
  assert.throws(() => readGlb(new TextEncoder().encode("a text that is long enough").buffer), /no GLB/);
});

test("a file that ends too early is refused", () => {
  const whole = writeGlb([SQUARE]);

  for (const bytes of [whole.byteLength - 1, 40, 20]) assert.throws(() => readGlb(whole.slice(0, bytes)), /incomplete/);
});

test("what is not read is refused instead of shown wrongly", () => {
  const cases = [
    [({ nodes }) => Object.assign(nodes[0], { scale: [2, 2, 2] }), /moves its nodes/],
    [({ meshes }) => Object.assign(meshes[0].primitives[0], { mode: 5 }), /other things than triangles/],
    [({ accessors }) => Object.assign(accessors[0], { sparse: {} }), /in another way/],
    [({ accessors }) => Object.assign(accessors[1], { normalized: true }), /in another way/],
    [({ bufferViews }) => Object.assign(bufferViews[0], { byteStride: 20 }), /in another way/],
    [({ bufferViews }) => Object.assign(bufferViews[0], { byteLength: 9999 }), /incomplete/],
    [(document) => { document.meshes = []; }, /empty/],
  ];

  for (const [change, reason] of cases) assert.throws(() => readGlb(writeGlb([SQUARE], { change })), reason);
});

test("points in space become lines of sight and nearness", () => {
  const points = pointsOf(Float32Array.of(1, 0.5, -1, 1, 0.5, -4, 0, -2, -2), { near: 1, far: 4, scale: 0.5 });

  // At distance 2, a third of the way from 1/4 to 1.
  const expected = [0.5, 0.25, 1, 0.125, 0.0625, 0, 0, -0.5, 1 / 3];
  for (const [at, value] of expected.entries()) assert.ok(Math.abs(points[at] - value) < 1e-6, `${points}`);
});

test("a model of only one distance is far everywhere", () => {
  assert.deepEqual([...pointsOf(Float32Array.of(0, 0, -3), { near: 3, far: 3, scale: 1 })], [0, 0, 0]);
});
