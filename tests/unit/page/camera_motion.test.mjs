import assert from "node:assert/strict";
import { test } from "node:test";

import { MOTIONS, amountOf, marginless, poseAt } from "../../../api/static/scene/camera_motion.js";
import { frameOf } from "../../../api/static/scene/relief.js";
import { lookFrom, multiply, perspective } from "../../../api/static/viewer/matrices.js";

const [FAR, ASPECT, AMOUNT] = [2.44, 1.5, 3];
const FRAME = frameOf(ASPECT);
const SCENE = { amount: AMOUNT, far: FAR, frame: FRAME };
/** By how much all is enlarged, so that no border is seen. */
const WHOLE = marginless(AMOUNT, FRAME);
/** Where what stays in its place is. */
const MIDDLE = 1 / (0.3 + 0.7 / FAR);

/** Return where a point of the photo, from the middle in widths and heights, at a distance is seen at a time, in the same, if it were not enlarged. */
function seen(motion, time, [u, v], distance) {
  const { eye, target, enlarged } = poseAt(motion, time, SCENE);
  const view = multiply(perspective(FRAME[1] / 2 / enlarged, ASPECT, 0.05, 20), lookFrom(eye, target));
  const point = [u * FRAME[0] * distance, v * FRAME[1] * distance, -distance, 1];
  const [x, y, , w] = [0, 1, 2, 3].map((row) => point.reduce((sum, value, column) => sum + view[4 * column + row] * value, 0));
  return [x / w / 2 / WHOLE, y / w / 2 / WHOLE];
}

/** Return by how much the nearest point is seen aside of the farthest one, in per cent of the width, at each of many times. */
function disparities(motion, place) {
  return Array.from({ length: 201 }, (_, at) => {
    const [near, far] = [1, FAR].map((distance) => seen(motion, at / 200, place, distance));
    return [0, 1].map((axis) => 100 * (near[axis] - far[axis]) * (axis ? 1 / ASPECT : 1));
  });
}

const span = (values) => Math.max(...values) - Math.min(...values);

for (const motion of MOTIONS) {
  test(`${motion} ends where it begins`, () => {
    const [begin, end] = [0, 1].map((time) => poseAt(motion, time, SCENE).eye);
    for (const [axis, place] of begin.entries()) assert.ok(Math.abs(place - end[axis]) < 1e-9);
  });

  test(`${motion} without an amount is at rest`, () => {
    const { eye, enlarged } = poseAt(motion, 0.3, { ...SCENE, amount: 0 });
    assert.deepEqual(eye.map(Math.abs), [0, 0, 0]);
    assert.equal(enlarged, 1);
  });
}

for (const motion of ["orbit", "sway"]) {
  test(`in ${motion}, the nearest point moves past the farthest one by the amount`, () => {
    const found = disparities(motion, [0, 0]);
    assert.ok(Math.abs(span(found.map(([x]) => x)) - AMOUNT) < 0.1);
    assert.ok(Math.abs(span(found.map(([, y]) => y)) - (motion === "orbit" ? 0.6 * AMOUNT : 0)) < 0.1);
  });
}

test("in a dolly, the corners move past what is behind them by the amount, and the focus keeps its size", () => {
  const found = disparities("dolly", [0.5, 0.5]).map(([x, y]) => Math.hypot(x, y));

  assert.ok(Math.abs(span(found) - AMOUNT) < 0.4);
  assert.ok(Math.abs(seen("dolly", 0.5, [0.5, 0.5], MIDDLE)[0] - 0.5) < 1e-6);
});

test("a zoom mostly enlarges", () => {
  const grow = (AMOUNT / 100) * FRAME[0] / (Math.hypot(...FRAME) / 2);

  assert.ok(Math.abs(seen("zoom", 0.5, [0.5, 0.5], MIDDLE)[0] - 0.5 * (1 + grow)) < 1e-6);
  assert.ok(Math.abs(span(disparities("zoom", [0.5, 0.5]).map(([x, y]) => Math.hypot(x, y))) - 0.4 * AMOUNT) < 0.2);
});

test("an orbit begins with what is near at the right, as the server's clips do", () => {
  assert.ok(seen("orbit", 0, [0, 0], 1)[0] > 0.01);
  assert.ok(seen("orbit", 0.25, [0, 0], 1)[1] < -0.005);
});

test("so much is enlarged that the farthest points of a sway stay beyond the border", () => {
  for (const time of [0.25, 0.75]) {
    const [left, right] = [-0.5, 0.5].map((u) => WHOLE * seen("sway", time, [u, 0], FAR)[0]);
    assert.ok(left <= -0.5 && right >= 0.5, `${left} to ${right}`);
  }
});

test("the depth slider reaches the most that the server takes", () => {
  assert.equal(amountOf(1), 5);
  assert.equal(amountOf(0), 0);
});
