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

test("a job is fetched once, and then followed by its event stream", async () => {
  await follow();
  const [stream] = page.streams;
  stream.tell("image", { index: 2, state: "succeeded" });
  stream.tell("job", makeJob({ state: "finalizing" }));
  await pass(60);

  assert.deepEqual(heard, ["reset", "well", "processing", "2 succeeded", "finalizing"]);
  assert.deepEqual([stream.url, page.streams.length, requests.length], ["/v1/jobs/j/events", 1, 1]);
});

test("an ended job is no longer followed, and its images are fetched once more", async () => {
  await follow();
  page.streams[0].tell("job", makeJob({ state: "succeeded" }));
  await pass(60);

  assert.deepEqual(heard.slice(-2), ["succeeded", "reset"]);
  assert.equal(page.streams[0].readyState, EventSource.CLOSED);
  assert.equal(requests.length, 1);
});

test("no events are requested for a job that has already ended", async () => {
  state = "partial";
  await follow();
  await pass(60);

  assert.deepEqual(heard, ["reset", "well", "partial", "reset"]);
  assert.equal(page.streams.length, 0);
});

test("after a verb, an ended job is followed again", async () => {
  state = "partial";
  const feed = await follow();
  state = "queued";
  feed.refresh();
  await settle();

  assert.equal(heard.at(-1), "queued");
  assert.equal(page.streams.length, 1);
});

test("after a gap in the events, everything is fetched again", async () => {
  await follow();
  page.streams[0].tell("reset", null);

  assert.equal(heard.at(-1), "reset");
});

test("if the stream is refused, the page polls every one and a half seconds", async () => {
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

test("after twenty seconds of polling, the stream is tried again", async () => {
  await follow();
  page.streams[0].fail({ refused: true });
  await settle();
  for (let step = 0; step < 13; step += 1) await pass(1.5);
  assert.equal(page.streams.length, 1);
  await pass(1.5);

  assert.equal(page.streams.length, 2);
});

test("an unchanged job is sent and reported only once", async () => {
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

test("a short interruption of the stream is not reported, and a long one is", async () => {
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

test("a failed poll is reported and repeated after three seconds", async () => {
  serve(() => { throw new TypeError("no network"); });
  await follow();
  assert.equal(heard.at(-1), "offline");
  requests = serve(() => answer(makeJob({ state })));
  await pass(2.9);
  assert.equal(requests.length, 0);
  await pass(0.1);

  assert.deepEqual(heard.slice(-2), ["well", "processing"]);
});

test("the server sets the interval of polls", async () => {
  serve(() => problem(503, "store_unavailable", { "Retry-After": "7" }));
  await follow();
  requests = serve(() => answer(makeJob({ state })));
  await pass(6.9);
  assert.equal(requests.length, 0);
  await pass(0.1);

  assert.equal(requests.length, 1);
});

test("a refused request is not repeated", async () => {
  requests = serve(() => problem(404, "not_found"));
  await follow();
  await pass(600);

  assert.deepEqual(heard, ["reset", "not_found"]);
  assert.equal(requests.length, 1);
});

test("a hidden page follows nothing, and fetches everything again when it is shown", async () => {
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

test("a response after the view was left is ignored", async () => {
  let reply;
  serve(() => new Promise((resolve) => { reply = resolve; }));
  const feed = await follow();
  feed.close();
  reply(answer(makeJob({ state })));
  await pass(60);

  assert.deepEqual(heard, ["reset"]);
  assert.equal(page.streams.length, 0);
});
