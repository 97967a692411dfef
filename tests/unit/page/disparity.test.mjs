import assert from "node:assert/strict";
import { test } from "node:test";

import { marginOf, reachOf, shiftOf, stepsFor } from "../../../api/static/make/disparity.js";

function assertNear(found, expected) {
  assert.ok(Math.abs(found - expected) < 1e-9, `${found} is not ${expected}`);
}

test("near points lie farther to the right in the left eye, and to the left in the right eye", () => {
  const stereo = { divergence: 2, convergence: 0.5 };

  assert.ok(shiftOf(1, "left", stereo) > 0 && shiftOf(0, "left", stereo) < 0);
  assertNear(shiftOf(1, "left", stereo), -shiftOf(1, "right", stereo));
});

test("points at the screen lie at the same place in both eyes", () => {
  for (const convergence of [0, 0.3, 1]) assert.equal(Math.abs(shiftOf(convergence, "left", { divergence: 5, convergence })), 0);
});

test("after the margins are cropped, the disparity is the one that was asked for", () => {
  for (const divergence of [0.5, 2, 5]) {
    for (const convergence of [0, 0.5, 0.8]) {
      const stereo = { divergence, convergence };
      const disparity = reachOf("left", stereo) - reachOf("right", stereo);

      assertNear(disparity / (1 - 2 * marginOf(stereo)), divergence / 100);
    }
  }
});

test("the margins hide what the farthest move would show of beyond the photo", () => {
  for (const convergence of [0, 0.4, 1]) {
    const stereo = { divergence: 5, convergence };
    const moves = [0, 1].map((nearness) => Math.abs(shiftOf(nearness, "left", stereo)));

    assertNear(marginOf(stereo), Math.max(...moves));
  }
});

test("without divergence nothing moves or is cropped", () => {
  const stereo = { divergence: 0, convergence: 0.5 };

  assert.deepEqual([Math.abs(shiftOf(1, "left", stereo)), marginOf(stereo)], [0, 0]);
});

test("a step of the search is about a pixel, and there are never too many", () => {
  assert.equal(stepsFor({ divergence: 2, convergence: 0.5 }, 1280), 13);
  assert.equal(stepsFor({ divergence: 0, convergence: 0.5 }, 1280), 8);
  assert.equal(stepsFor({ divergence: 5, convergence: 0.5 }, 9000), 64);
});
