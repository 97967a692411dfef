import assert from "node:assert/strict";
import { test } from "node:test";

import { ENDS, MOVING, VERBS, isSettled, toneOf } from "../../../api/static/model/states.js";

const STATES = ["uploading", "queued", "processing", "paused", "finalizing", "canceling", ...ENDS];

test("every state of a job has its colour", () => {
  const tones = Object.fromEntries(STATES.map((state) => [state, toneOf(state)]));

  assert.deepEqual(tones, {
    uploading: "busy", queued: "busy", processing: "busy", finalizing: "busy", canceling: "busy",
    paused: "still", canceled: "still", expired: "still",
    succeeded: "good", partial: "bad", failed: "bad",
  });
});

test("a state is active, at rest, or an end", () => {
  assert.deepEqual(STATES.filter((state) => !MOVING.has(state) && !ENDS.has(state)), ["paused"]);
  assert.deepEqual(STATES.filter((state) => MOVING.has(state) && ENDS.has(state)), []);
});

test("only ended jobs can be retried", () => {
  for (const verb of ["pause", "resume", "cancel"]) assert.equal(VERBS[verb].isDisjointFrom(ENDS), true);
  assert.equal(VERBS.retry.isSubsetOf(ENDS), true);
});

test("a done, failed or canceled image does not change", () => {
  const states = ["queued", "processing", "succeeded", "failed", "canceled"];

  assert.deepEqual(states.filter((state) => isSettled({ state })), ["succeeded", "failed", "canceled"]);
});
