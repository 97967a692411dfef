import assert from "node:assert/strict";
import { test } from "node:test";

import { Backdrop, fill } from "../../../api/static/scene/backdrop.js";
import { frameOf, makeGrid, sharpen } from "../../../api/static/scene/relief.js";

function mapOf(rows) {
  return { columns: rows[0].length, rows: rows.length, values: Float32Array.from(rows.flat()) };
}

function repeat(row, rows) {
  return mapOf(Array.from({ length: rows }, () => row));
}

function assertNear(found, expected) {
  assert.equal(found.length, expected.length);
  for (const [at, value] of expected.entries()) assert.ok(Math.abs(found[at] - value) < 1e-5, `${[...found]} is not ${expected}`);
}

/** The nearness of the corners of every triangle of a sheet. */
function cornersOf({ points, triangles }) {
  return Array.from({ length: triangles.length / 3 }, (_, at) => [0, 1, 2].map((corner) => points[3 * triangles[3 * at + corner] + 2]));
}

test("a frame's shorter side is 1", () => {
  assert.deepEqual([frameOf(2), frameOf(0.5), frameOf(1)], [[2, 1], [1, 2], [1, 1]]);
});

test("a smooth map is one sheet over the whole photo, upright", () => {
  const { points, places, edges, triangles } = makeGrid(mapOf([[0.5, 0.55], [0.5, 0.55]]), [2, 1]);

  assertNear(points, [-1, 0.5, 0.5, 1, 0.5, 0.55, -1, -0.5, 0.5, 1, -0.5, 0.55]);
  assertNear(places, [0, 0, 1, 0, 0, 1, 1, 1]);
  assertNear(edges, Array(8).fill(0));
  assert.deepEqual([...triangles], [0, 2, 1, 1, 2, 3]);
});

test("no triangle leads from a near thing to what is behind it", () => {
  const sheet = makeGrid(repeat([0.1, 0.1, 0.9, 0.9], 3), [1, 1]);

  for (const corners of cornersOf(sheet)) assert.ok(Math.max(...corners) - Math.min(...corners) < 0.01, `${corners}`);
  // 4 cells beside the edge, and 2 on it that are drawn twice.
  assert.equal(sheet.triangles.length, 3 * 2 * (4 + 2 * 2));
});

test("each side of an edge knows which depth belongs to it", () => {
  const { edges, points } = makeGrid(mapOf([[0.1, 0.9], [0.1, 0.9]]), [1, 1]);

  const sides = Array.from({ length: edges.length / 2 }, (_, at) => [edges[2 * at], points[3 * at + 2]]).slice(4);
  assert.deepEqual(sides.map(([side, nearness]) => [side, Math.round(10 * nearness)]), [...Array(4).fill([1, 9]), ...Array(4).fill([-1, 1])]);
  for (let at = 4; at < edges.length / 2; at += 1) assert.ok(Math.abs(edges[2 * at + 1] - 0.5) < 1e-6);
});

test("a ramp between two things becomes a step, and a slope stays", () => {
  assertNear(sharpen(repeat([0.1, 0.1, 0.3, 0.8, 0.9, 0.9], 1)).values, [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]);
  const slope = [0.1, 0.13, 0.16, 0.19, 0.22];
  assertNear(sharpen(repeat(slope, 1)).values, slope);
});

test("unknown values are continued from the known, which stay", () => {
  const known = Float32Array.of(1, 0, 0, 1);

  const filled = fill(mapOf([[2, 99, 99, 4]]), known);

  assert.deepEqual([filled[0], filled[3]], [2, 4]);
  for (const value of filled) assert.ok(value >= 2 && value <= 4, `${filled}`);
});

test("what is behind a near thing is as far as the background beside it", () => {
  const row = Array.from({ length: 40 }, (_, x) => (x >= 18 && x < 22 ? 0.9 : 0.2));

  const { geometry: { points } } = new Backdrop(repeat(row, 40), [1, 1]);

  for (let at = 2; at < points.length; at += 3) assert.ok(points[at] < 0.2 && points[at] > 0.1, `${points[at]}`);
});

test("the backdrop of a photo without edges lies just behind it", () => {
  const { geometry: { points } } = new Backdrop(repeat([0.5, 0.5, 0.5, 0.5], 4), [1, 1]);

  for (let at = 2; at < points.length; at += 3) assert.ok(points[at] > 0.45 && points[at] < 0.5, `${points[at]}`);
});
