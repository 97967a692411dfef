import assert from "node:assert/strict";
import { test } from "node:test";

import { lookFrom, multiply, perspective } from "../../../api/static/viewer/matrices.js";

const UNIT = Float32Array.from({ length: 16 }, (_, at) => (at % 5 === 0 ? 1 : 0));

/** Transform a point by a column-major matrix. */
function apply(matrix, [x, y, z]) {
  return [0, 1, 2, 3].map((row) => matrix[row] * x + matrix[4 + row] * y + matrix[8 + row] * z + matrix[12 + row]);
}

/** Return the position of a point on the screen, -1 to 1 each. */
function project(matrix, point) {
  const [x, y, z, w] = apply(matrix, point);
  return [x / w, y / w, z / w];
}

function assertNear(found, expected) {
  assert.equal(found.length, expected.length);
  for (const [at, value] of expected.entries()) assert.ok(Math.abs(found[at] - value) < 1e-5, `${found} is not ${expected}`);
}

test("the second matrix of a product is applied first", () => {
  const move = Float32Array.from(UNIT);
  move.set([1, 2, 3], 12);
  const double = Float32Array.from(UNIT, (value, at) => (at < 15 ? 2 * value : value));

  assert.deepEqual(multiply(UNIT, move), move);
  assertNear(apply(multiply(double, move), [1, 1, 1]), [4, 6, 8, 1]);
  assertNear(apply(multiply(move, double), [1, 1, 1]), [3, 4, 5, 1]);
});

test("half the height at distance 1 reaches the upper edge, and at twice the distance half of the way", () => {
  const matrix = perspective(0.5, 2, 0.1, 10);

  assertNear(project(matrix, [0, 0.5, -1]).slice(0, 2), [0, 1]);
  assertNear(project(matrix, [1, 0, -1]).slice(0, 2), [1, 0]);
  assertNear(project(matrix, [0, 0.5, -2]).slice(0, 2), [0, 0.5]);
});

test("points on the near and far planes have the extreme depths", () => {
  const matrix = perspective(0.5, 1, 0.1, 10);

  assertNear(project(matrix, [0, 0, -0.1]), [0, 0, -1]);
  assertNear(project(matrix, [0, 0, -10]), [0, 0, 1]);
});

test("the eye is the origin, and its target is straight ahead", () => {
  const matrix = lookFrom([1, 2, 3], [1, 2, -1]);
  const aside = lookFrom([3, 0, 0], [0, 0, 0]);

  assertNear(apply(matrix, [1, 2, 3]), [0, 0, 0, 1]);
  assertNear(apply(matrix, [1, 2, -1]), [0, 0, -4, 1]);
  assertNear(apply(aside, [0, 0, 0]), [0, 0, -3, 1]);
  // Upright.
  assertNear(apply(aside, [0, 1, 0]), [0, 1, -3, 1]);
});
