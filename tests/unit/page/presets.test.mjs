import assert from "node:assert/strict";
import { test } from "node:test";

import { optionsOf } from "../../../api/static/presets/outputs.js";

const PRESETS = { share: ["clip"], web3d: ["mesh", "thumbnail"], print: ["heatmap", "depth16"] };

test("a preset is sent with its outputs and those that the page shows", () => {
  assert.deepEqual(optionsOf("share", PRESETS), { preset: "share", outputs: ["heatmap", "thumbnail", "clip"] });
});

test("no output is sent twice", () => {
  assert.deepEqual(optionsOf("web3d", PRESETS).outputs, ["heatmap", "thumbnail", "mesh"]);
  assert.deepEqual(optionsOf("print", PRESETS).outputs, ["heatmap", "thumbnail", "depth16"]);
});

test("a preset that the document does not describe is left to the server", () => {
  assert.deepEqual(optionsOf("cinema", PRESETS), { preset: "cinema" });
});
