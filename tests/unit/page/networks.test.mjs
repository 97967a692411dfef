import assert from "node:assert/strict";
import { test } from "node:test";

import { askModels } from "../../../api/static/api.js";
import { makeFile } from "../../../api/static/make/file_request.js";
import { DEFAULTS } from "../../../api/static/make/orders.js";
import { ifServed, modelOption, offered, pick, restrictionOf, takesDetail, timesAsLong, unusual } from "../../../api/static/networks/choice.js";
import { answer, makeJob, openPage, problem, serve } from "./browser.mjs";

openPage();

const model = (name, relative_cost, others = {}) => ({
  name, title: name.toUpperCase(), tier: "best", relative_cost, weights_licence: "MIT", licence_note: "", available: true, default: false, ...others,
});
const SMALL = model("midas_small", 1, { default: true });
const HYBRID = model("dpt_hybrid", 50.1);
const LARGE = model("dpt_large", 101.9);
const AWAY = model("midas_large", 22.5, { available: false });
const MODELS = [SMALL, AWAY, LARGE, HYBRID];

test("the networks that workers serve are on offer, the fastest first", () => {
  assert.deepEqual(offered(MODELS), [SMALL, HYBRID, LARGE]);
  assert.deepEqual(offered(null), []);
});

for (const [models, name, picked, option] of [
  [MODELS, "", SMALL, {}],
  [MODELS, "midas_small", SMALL, {}],
  [MODELS, "dpt_large", LARGE, { model: "dpt_large" }],
  [MODELS, "midas_large", SMALL, {}],
  [[{ ...SMALL, available: false }, LARGE, HYBRID], "", HYBRID, { model: "dpt_hybrid" }],
  [[AWAY], "midas_large", null, {}],
  [null, "dpt_large", null, {}],
]) {
  test(`of ${models?.map(({ name }) => name) ?? "an older server"}, ${name || "no choice"} gives ${picked?.name ?? "nothing"}`, () => {
    assert.equal(pick(models, name), picked);
    assert.deepEqual(modelOption(picked), option);
  });
}

for (const [cost, times] of [[1, 1], [1.4, 1], [9, 3], [24.3, 8], [50.1, 15], [101.9, 30]]) {
  test(`a network of relative cost ${cost} takes about ${times} times as long`, () => {
    assert.equal(timesAsLong(model("other", cost), MODELS), times);
  });
}

test("where only large networks are served, they are compared with the fastest of them", () => {
  assert.equal(timesAsLong(LARGE, [{ ...SMALL, available: false }, HYBRID, LARGE]), 2);
  assert.equal(timesAsLong(HYBRID, [HYBRID, LARGE]), 1);
});

for (const licence of ["MIT", "Apache-2.0", "BSD", "BSD-3-Clause"]) {
  test(`${licence} restricts nobody`, () => assert.equal(restrictionOf(model("a", 1, { weights_licence: licence })), null));
}

test("other licences, notes, and licences that are not known are shown", () => {
  assert.deepEqual(restrictionOf(model("a", 1, { weights_licence: "CC-BY-NC 4.0" })), { licence: "CC-BY-NC 4.0", note: "" });
  assert.deepEqual(restrictionOf(model("a", 1, { licence_note: "But." })), { licence: "MIT", note: "But." });
  assert.deepEqual(restrictionOf(model("a", 1, { weights_licence: null })), { licence: null, note: "" });
});

test("more detail is a choice of the smallest network, and of a server that does not say which it has", () => {
  assert.deepEqual([SMALL, null, LARGE].map(takesDetail), [true, true, false]);
});

test("a job's network is worth a word if it is not the default", () => {
  assert.equal(unusual(MODELS, "dpt_large"), "DPT_LARGE");
  assert.equal(unusual(MODELS, "file:gone"), "file:gone");
  for (const [models, name] of [[MODELS, "midas_small"], [MODELS, undefined], [null, "dpt_large"]]) assert.equal(unusual(models, name), null);
});

test("the server's list of networks is asked for without a dialog, and an error is no list", async () => {
  serve(() => answer({ models: MODELS }));
  assert.deepEqual(await askModels(), MODELS);
  for (const status of [401, 404, 503]) {
    const requests = serve(() => problem(status, "nothing"));
    assert.equal(await askModels(), null);
    assert.equal(requests.length, 1);
  }
  serve(() => { throw new TypeError("lost"); });
  assert.equal(await askModels(), null);
});

/** Ask for a mesh of a photo whose job used a network; return the paths of all requests. */
async function makeMesh(name, models) {
  const job = makeJob();
  const requests = serve(({ path }) => (path === "/v1/models" ? models() : answer(new Blob(["photo"]))));
  await makeFile("mesh", { job: { ...job, options: { ...job.options, model: name } }, index: 0, name: "a.jpg" }, DEFAULTS, { signal: new AbortController().signal });
  return requests.map(({ path }) => path).filter((path) => path.startsWith("/v1/depth"));
}

test("a file of one photo is made with the job's network if workers still serve it", async () => {
  assert.equal(ifServed(MODELS, "midas_large"), undefined);
  assert.deepEqual(await makeMesh("dpt_large", () => answer({ models: MODELS })), ["/v1/depth?output=mesh&model=dpt_large"]);
  assert.deepEqual(await makeMesh("midas_large", () => answer({ models: MODELS })), ["/v1/depth?output=mesh"]);
  assert.deepEqual(await makeMesh("dpt_large", () => problem(404, "not_found")), ["/v1/depth?output=mesh"]);
});
