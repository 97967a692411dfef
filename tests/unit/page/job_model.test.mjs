import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { jobModel } from "../../../api/static/model/job_model.js";
import { answer, makeImage, makeJob, openPage, problem, serve, settle } from "./browser.mjs";

const TOTAL = 450;

let page;
let requests;
let told;
let number = 0;
const stops = [];
/** The images that the test changed, as the API returns them; all others are queued. */
let states;

beforeEach(() => {
  page = openPage();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  states = new Map();
  requests = serve(respond);
});

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** Follow a model until the test ends. */
function follow(model) {
  stops.push(model.follow());
}

function respond({ path, method }) {
  const url = new URL(path, "http://fathom.test");
  if (!url.pathname.endsWith("/images")) return answer(makeJob({ total: TOTAL, state: method === "POST" ? "paused" : "processing" }));
  const [cursor, limit] = [Number(url.searchParams.get("cursor")), Number(url.searchParams.get("limit"))];
  const indices = Array.from({ length: Math.min(limit, TOTAL - cursor) }, (_, at) => cursor + at);
  return answer({ images: indices.map((index) => makeImage(index, states.get(index))), next_cursor: null });
}

/** A new model, and the list of fetched pages of images. */
function makeModel() {
  number += 1;
  const model = jobModel(`job${number}`);
  told = [];
  for (const kind of ["job", "images", "error"]) model.addEventListener(kind, () => told.push(kind));
  return model;
}

const pages = () => requests.filter(({ path }) => path.includes("/images?")).map(({ path }) => Number(/cursor=(\d+)/.exec(path)[1]));

async function pass(milliseconds) {
  mock.timers.tick(milliseconds);
  await settle();
}

test("only visible pages of images are fetched, and each page once", async () => {
  const model = makeModel();
  model.want(190, 210);
  model.want(195, 215);
  await settle();
  model.want(0, 10);
  await settle();

  assert.deepEqual(pages(), [0, 200]);
  assert.equal(model.image(201).name, "201.jpg");
  assert.equal(model.image(400), undefined);
});

test("without visible images nothing is fetched", async () => {
  makeModel().want(0, 0);
  await settle();

  assert.deepEqual(pages(), []);
});

test("image changes are shown, and the failures of many images are fetched together", async () => {
  const model = makeModel();
  follow(model);
  model.want(0, 20);
  await settle();
  told.length = 0;
  for (const index of [3, 4, 5]) {
    states.set(index, "succeeded");
    page.streams[0].tell("image", { index, state: "succeeded" });
  }
  assert.equal(model.image(4).state, "succeeded");
  assert.deepEqual(told, ["images", "images", "images"]);
  await pass(399);
  assert.deepEqual(pages(), [0]);
  await pass(1);

  assert.deepEqual(pages(), [0, 0]);
});

test("an image that changes while its page is fetched is fetched again", async () => {
  const model = makeModel();
  follow(model);
  model.want(0, 20);
  await settle();
  const held = [];
  requests = serve((request) => new Promise((resolve) => held.push(() => resolve(respond(request)))));
  page.streams[0].tell("image", { index: 3, state: "succeeded" });
  await pass(400);
  assert.equal(held.length, 1);
  page.streams[0].tell("image", { index: 4, state: "succeeded" });
  await pass(400);
  assert.equal(held.length, 1);
  held[0]();
  await settle();
  await pass(400);

  assert.equal(held.length, 2);
});

test("retried and unchanged images are not fetched", async () => {
  const model = makeModel();
  follow(model);
  model.want(0, 20);
  await settle();
  page.streams[0].tell("image", { index: 3, state: "pending" });
  page.streams[0].tell("image", { index: 4, state: "queued" });
  page.streams[0].tell("image", { index: 300, state: "succeeded" });
  await pass(1000);

  assert.equal(model.image(3).state, "pending");
  assert.deepEqual(pages(), [0]);
});

test("after a gap, all visible images that may have changed are fetched", async () => {
  for (let index = 0; index < 200; index += 1) states.set(index, "succeeded");
  const model = makeModel();
  follow(model);
  model.want(0, TOTAL);
  await settle();
  model.want(150, 250);
  page.streams[0].tell("reset", null);
  await pass(400);
  assert.deepEqual(pages(), [0, 200, 400, 200]);
  model.want(400, 410);
  await settle();

  assert.deepEqual(pages(), [0, 200, 400, 200, 400]);
});

test("an image is waited for until it is known", async () => {
  const model = makeModel();

  assert.equal((await model.imageAt(42)).name, "42.jpg");
  assert.equal((await model.imageAt(43)).name, "43.jpg");
  assert.deepEqual(pages(), [0]);
});

test("pages that the job does not have are not fetched again, and others are", async () => {
  for (const [code, status, again] of [["not_found", 404, 1], ["store_broken", 500, 2]]) {
    const model = makeModel();
    requests = serve(() => problem(status, code));
    model.want(0, 1);
    await settle();
    model.pages.set(0, []);
    model.want(0, 1);
    await settle();

    assert.equal(model.error.code, code);
    assert.equal(requests.length, again);
  }
});

test("failed images are fetched page by page, and again after more failures", async () => {
  const model = makeModel();
  requests = serve(({ path }) => {
    const last = path.includes("cursor=7");
    return answer({ images: [makeImage(last ? 9 : 5, "failed")], next_cursor: last ? null : "7" });
  });
  const first = model.moreFailures();
  await model.moreFailures();
  await first;
  assert.equal(requests.length, 1);
  await model.moreFailures();
  await model.moreFailures();

  assert.deepEqual(model.failures.map(({ index }) => index), [5, 9]);
  assert.equal(requests.length, 2);
  assert.match(requests[0].path, /state=failed&cursor=0&limit=200$/);

  serve(() => answer(makeJob({ total: TOTAL, failed: 3 })));
  await model.control("resume");
  assert.deepEqual([model.failures, model.failuresCursor], [[], "0"]);
});

test("a verb changes the job at once, and retried photos are fetched again", async () => {
  const model = makeModel();
  model.want(0, 10);
  await settle();
  await model.control("pause");
  assert.equal(model.job.state, "paused");
  assert.equal(model.image(0).index, 0);
  await model.control("retry");

  assert.equal(model.image(0), undefined);
  assert.deepEqual(requests.slice(1).map(({ method, path }) => [method, path.split("/").at(-1)]), [["POST", "pause"], ["POST", "retry"]]);
});

test("a job is followed as long as it has a subscriber", async () => {
  const model = makeModel();
  const [first, second] = [model.follow(), model.follow()];
  await settle();
  first();
  assert.equal(page.streams[0].readyState, 1);
  second();

  assert.equal(page.streams[0].readyState, EventSource.CLOSED);
  assert.equal(page.streams.length, 1);
});

test("the last four models and all followed ones are kept", async () => {
  const followed = jobModel("followed");
  follow(followed);
  const others = ["a", "b", "c", "d", "e"].map(jobModel);

  assert.equal(jobModel("e"), others[4]);
  assert.equal(jobModel("followed"), followed);
  assert.notEqual(jobModel("a"), others[0]);
});

test("a deleted job is forgotten", async () => {
  const model = makeModel();
  requests = serve(() => answer(null, { status: 204 }));
  await model.remove();

  assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), [`DELETE /v1/jobs/${model.id}`]);
  assert.notEqual(jobModel(model.id), model);
});
