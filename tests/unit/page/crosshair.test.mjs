import assert from "node:assert/strict";
import { test } from "node:test";

import { moved } from "../../../api/static/make/crosshair.js";

test("arrow keys move the mark by a little, and with Shift by more", () => {
  const places = [["ArrowRight", false], ["ArrowUp", false], ["ArrowLeft", true], ["ArrowDown", true]].map(([key, shiftKey]) => moved([0.5, 0.5], { key, shiftKey }));

  assert.deepEqual(places, [[0.52, 0.5], [0.5, 0.48], [0.4, 0.5], [0.5, 0.6]]);
});

test("the mark stays on the picture", () => {
  assert.deepEqual(moved([0.99, 0], { key: "ArrowRight" }), [1, 0]);
  assert.deepEqual(moved([0.99, 0], { key: "ArrowUp" }), [0.99, 0]);
});

test("other keys do not move it", () => {
  assert.equal(moved([0.5, 0.5], { key: "Enter" }), null);
});
