import assert from "node:assert/strict";
import { test } from "node:test";

import { makeFile } from "../../../api/static/make/file_request.js";
import { DEFAULTS, ORDERS, nameIn, queryOf, saveName } from "../../../api/static/make/orders.js";
import { answer, makeJob, openPage, problem, serve } from "./browser.mjs";

openPage();

const query = (kind, settings = {}, job = {}) => Object.fromEntries(new URLSearchParams(queryOf(ORDERS[kind], { ...DEFAULTS, ...settings }, job)));

test("an anaglyph is asked for as it is shown", () => {
  assert.deepEqual(query("anaglyph", { divergence: 3.5, convergence: 0.25 }), {
    output: "stereo", "stereo.layout": "anaglyph", "stereo.divergence": "3.5", "stereo.convergence": "0.25",
  });
});

test("headsets get both full views, and so does the wiggle", () => {
  assert.equal(query("headset")["stereo.layout"], "sbs_full");
  assert.deepEqual(query("wiggle"), query("headset"));
});

test("the focus is a point from the left and the top", () => {
  assert.deepEqual(query("refocus", { focus: [0.25, 2 / 3], aperture: 2 }), {
    output: "refocus", "refocus.focus": "0.2500,0.6667", "refocus.aperture": "2",
  });
});

test("a clip moves as the 3D view does", () => {
  assert.deepEqual(query("clip", { motion: "dolly", amount: 3.0000001 }), { output: "clip", "clip.motion": "dolly", "clip.amount": "3" });
});

test("normals have the depth that is shown", () => {
  assert.deepEqual(query("normals", { ratio: 12 }), { output: "normals", "normals.depth_ratio": "12" });
});

test("the depth is made as that of the job was", () => {
  assert.deepEqual(query("mesh", {}, { edges: "smooth", depth_source: "model", colormap: "magma" }), { output: "mesh", edges: "smooth", depth_source: "model" });
});

test("a header's file name is read, the full one first", () => {
  assert.equal(nameIn('inline; filename="stereo_redcyan.jpg"'), "stereo_redcyan.jpg");
  assert.equal(nameIn("inline; filename=mesh.glb"), "mesh.glb");
  assert.equal(nameIn("inline; filename=\"____.glb\"; filename*=UTF-8''%E7%8C%AB.glb"), "猫.glb");
  assert.equal(nameIn("inline"), null);
  assert.equal(nameIn(null), null);
});

test("a file is named after its photo, with the ending that other programs know", () => {
  assert.equal(saveName("album/cat.JPG", "stereo_redcyan.jpg", "_redcyan.jpg"), "cat_redcyan.jpg");
  assert.equal(saveName("cat.v2.jpg", "mesh.glb", ".glb"), "cat.v2.glb");
  assert.equal(saveName("noending", null, ".ply"), "noending.ply");
  assert.equal(saveName(".jpg", null, ".ply"), ".jpg.ply");
});

test("a name that the server made from the photo's is kept", () => {
  assert.equal(saveName("cat.jpg", "cat_LRF_Full_SBS.jpg", "_redcyan.jpg"), "cat_LRF_Full_SBS.jpg");
});

/** Ask for a file of photo 3 of a job; the server answers a post with `made`. */
async function make(kind, made, { signal = new AbortController().signal, onStage } = {}) {
  const photo = new Blob(["photo"], { type: "image/jpeg" });
  const requests = serve(({ method }) => (method === "POST" ? made() : answer(photo)));
  const file = await makeFile(kind, { job: makeJob(), index: 3, name: "a/cat.jpg" }, DEFAULTS, { signal, onStage });
  return { file, requests, photo };
}

test("the photo is fetched and posted, and the answer is the file", async () => {
  const stages = [];
  const { file, requests, photo } = await make("mesh", () => answer("the mesh", { headers: { "Content-Disposition": "inline; filename=mesh.glb" } }), {
    onStage: (stage) => stages.push(stage),
  });

  assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), ["GET /v1/jobs/j/images/3/input?stream=1", "POST /v1/depth?output=mesh"]);
  assert.equal(requests[1].body, photo);
  assert.deepEqual(file, { blob: "the mesh", name: "cat.glb" });
  assert.deepEqual(stages, ["fetching", "making"]);
});

test("a photo that no worker got to in time is not sent again by itself", async () => {
  let posts = 0;
  const late = () => {
    posts += 1;
    return problem(503, "depth_timed_out");
  };

  await assert.rejects(make("mesh", late), { code: "depth_timed_out", passing: false });
  assert.equal(posts, 1);
});

test("a canceled request is not tried again", async () => {
  const canceled = new AbortController();
  const busy = () => {
    canceled.abort();
    return problem(429, "too_many_depth_requests", { "Retry-After": "9" });
  };

  await assert.rejects(make("mesh", busy, { signal: canceled.signal }), { name: "AbortError" });
});
