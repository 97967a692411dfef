import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { JobFeed } from "../../../api/static/model/job_feed.js";
import { answer, makeJob, openPage, problem, serve, settle } from "./browser.mjs";

let page;
let heard;
let state;
let requests;

beforeEach(() => {
  page = openPage();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  heard = [];
  state = "processing";
  requests = serve(() => answer(makeJob({ state }), { headers: { ETag: state } }));
});

async function follow() {
  const feed = new JobFeed("j", {
    onJob: (job) => heard.push(job.state),
    onImage: ({ index, state: of }) => heard.push(`${index} ${of}`),
    onReset: () => heard.push("reset"),
    onError: (error) => heard.push(error === null ? "well" : error.code),
  });
  await settle();
  return feed;
}

async function pass(seconds) {
  mock.timers.tick(1000 * seconds);
  await settle();
}

test("a job is asked for once, and then heard of as a stream of events", async () => {
  await follow();
  const [stream] = page.streams;
  stream.tell("image", { index: 2, state: "succeeded" });
  stream.tell("job", makeJob({ state: "finalizing" }));
  await pass(60);

  assert.deepEqual(heard, ["reset", "well", "processing", "2 succeeded", "finalizing"]);
  assert.deepEqual([stream.url, page.streams.length, requests.length], ["/v1/jobs/j/events", 1, 1]);
});

test("a job that has ended is followed no longer, and its images are looked at once more", async () => {
  await follow();
  page.streams[0].tell("job", makeJob({ state: "succeeded" }));
  await pass(60);

  assert.deepEqual(heard.slice(-2), ["succeeded", "reset"]);
  assert.equal(page.streams[0].readyState, EventSource.CLOSED);
  assert.equal(requests.length, 1);
});

test("of a job that has ended before no events are asked for", async () => {
  state = "partial";
  await follow();
  await pass(60);

  assert.deepEqual(heard, ["reset", "well", "partial", "reset"]);
  assert.equal(page.streams.length, 0);
});

test("once something was done to an ended job, it is followed anew", async () => {
  state = "partial";
  const feed = await follow();
  state = "queued";
  feed.refresh();
  await settle();

  assert.equal(heard.at(-1), "queued");
  assert.equal(page.streams.length, 1);
});

test("a gap in the events makes everything be looked at anew", async () => {
  await follow();
  page.streams[0].tell("reset", null);

  assert.equal(heard.at(-1), "reset");
});

test("a stream that is refused gives way to questions, every second and a half", async () => {
  await follow();
  page.streams[0].fail({ refused: true });
  await settle();
  const asked = requests.length;
  await pass(1.4);
  assert.equal(requests.length, asked);
  await pass(0.1);
  assert.equal(requests.length, asked + 1);
  await pass(1.5);

  assert.equal(requests.length, asked + 2);
  assert.equal(page.streams.length, 1);
});

test("after twenty seconds of questions events are asked for once more", async () => {
  await follow();
  page.streams[0].fail({ refused: true });
  await settle();
  for (let step = 0; step < 13; step += 1) await pass(1.5);
  assert.equal(page.streams.length, 1);
  await pass(1.5);

  assert.equal(page.streams.length, 2);
});

test("what has not changed is sent and told only once", async () => {
  const { EventSource: stream } = window;
  window.EventSource = undefined;
  requests = serve(({ headers }) =>
    (headers["If-None-Match"] === state ? answer(null, { status: 304 }) : answer(makeJob({ state }), { headers: { ETag: state } })));
  await follow();
  await pass(1.5);
  state = "finalizing";
  await pass(1.5);
  window.EventSource = stream;

  assert.deepEqual(heard.filter((word) => word !== "well"), ["reset", "processing", "reset", "finalizing", "reset"]);
  assert.deepEqual(requests.map(({ headers }) => headers["If-None-Match"]), [undefined, "processing", "processing"]);
});

test("a stream that breaks for a moment is no news, and one that stays away is", async () => {
  await follow();
  const [stream] = page.streams;
  stream.fail();
  await pass(4);
  stream.dispatchEvent(new Event("open"));
  await pass(10);
  assert.equal(heard.includes("offline"), false);

  stream.fail();
  await pass(5);
  assert.equal(heard.at(-1), "offline");
  stream.dispatchEvent(new Event("open"));
  assert.equal(heard.at(-1), "well");
});

test("a question without an answer is told and asked again after three seconds", async () => {
  serve(() => { throw new TypeError("no network"); });
  await follow();
  assert.equal(heard.at(-1), "offline");
  requests = serve(() => answer(makeJob({ state })));
  await pass(2.9);
  assert.equal(requests.length, 0);
  await pass(0.1);

  assert.deepEqual(heard.slice(-2), ["well", "processing"]);
});

test("the server says how long to wait", async () => {
  serve(() => problem(503, "store_unavailable", { "Retry-After": "7" }));
  await follow();
  requests = serve(() => answer(makeJob({ state })));
  await pass(6.9);
  assert.equal(requests.length, 0);
  await pass(0.1);

  assert.equal(requests.length, 1);
});

test("what is refused is not asked for again", async () => {
  requests = serve(() => problem(404, "not_found"));
  await follow();
  await pass(600);

  assert.deepEqual(heard, ["reset", "not_found"]);
  assert.equal(requests.length, 1);
});

test("while nobody looks nothing is followed, and afterwards everything is looked at anew", async () => {
  await follow();
  page.look(false);
  await pass(600);
  assert.equal(page.streams[0].readyState, EventSource.CLOSED);
  assert.equal(requests.length, 1);
  page.look(true);
  await settle();

  assert.deepEqual(heard.slice(-3), ["reset", "well", "processing"]);
  assert.equal(page.streams.length, 2);
  assert.equal(requests.at(-1).headers["If-None-Match"], undefined);
});

test("an answer that comes after the page was left is not heard", async () => {
  let reply;
  serve(() => new Promise((resolve) => { reply = resolve; }));
  const feed = await follow();
  feed.close();
  reply(answer(makeJob({ state })));
  await pass(60);

  assert.deepEqual(heard, ["reset"]);
  assert.equal(page.streams.length, 0);
});
