import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { UploadSession, anySending, sessionOf } from "../../../api/static/uploads/upload_session.js";
import { resumeUploads, submitPhotos } from "../../../api/static/uploads/submit.js";
import { answer, makeJob, openPage, problem, serve, settle, until } from "./browser.mjs";

const STORE = "http://store.test";

let page;
let requests;
let number = 0;

beforeEach(() => {
  page = openPage();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  requests = serve(() => answer(makeJob()));
});

const makeFile = (index) => new File(["x".repeat(10 * (index + 1))], `${index}.jpg`);

/** Begin to upload `count` photos to the store. */
function send(count) {
  number += 1;
  const files = new Map(Array.from({ length: count }, (_, index) => [index, makeFile(index)]));
  const uploads = [...files.keys()].map((index) => ({ index, name: `${index}.jpg`, url: `${STORE}/${index}?signed=1` }));
  return new UploadSession(`job${number}`, files, uploads);
}

const reached = (session, state) => until(() => session.state === state);
const paths = () => requests.map(({ method, path }) => `${method} ${path}`);
const indexOf = (request) => Number(/(\d+)(\?.*)?$/.exec(request.url)[1]);

async function pass(seconds) {
  await settle();
  mock.timers.tick(1000 * seconds);
  await settle();
}

test("photos are uploaded in order, five at a time, and then the job is started", async () => {
  const session = send(8);
  await until(() => page.sent.length === 5);
  await settle();
  assert.deepEqual(page.sent.map(indexOf), [0, 1, 2, 3, 4]);
  assert.equal(anySending(), true);

  page.onSend((request) => request.answer(200));
  for (const request of page.sent) request.answer(200);
  await reached(session, "done");

  assert.deepEqual(page.sent.map(indexOf), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(paths(), [`POST /v1/jobs/${session.jobId}/start`]);
  assert.deepEqual([session.bytes, session.totalBytes, session.sent.size], [360, 360, 8]);
  assert.deepEqual([sessionOf(session.jobId), anySending()], [null, false]);
});

test("bytes in flight are counted", async () => {
  const session = send(3);
  await until(() => page.sent.length === 3);
  page.sent[1].upload.onprogress({ loaded: 5 });
  page.sent[2].upload.onprogress({ loaded: 400 });

  assert.equal(session.bytes, 35);
  assert.deepEqual([0, 1, 2].map((index) => session.shareOf(index)), [0, 0.25, 1]);
  session.drop();
});

test("the speed covers the last seconds", async (context) => {
  let now = 0;
  context.mock.method(performance, "now", () => now);
  const session = send(1);
  session.files.set(0, new File(["x".repeat(1000)], "large.jpg"));
  await until(() => page.sent.length === 1);
  assert.equal(session.speed, null);
  for (const [at, loaded] of [[0, 0], [1000, 100], [7000, 400], [8000, 700]]) {
    now = at;
    page.sent[0].upload.onprogress({ loaded });
  }

  assert.equal(session.speed, 300);
  session.drop();
});

test("a pause aborts the uploads in flight, and they are repeated afterwards", async () => {
  const session = send(6);
  await until(() => page.sent.length === 5);
  page.sent[0].answer(200);
  await until(() => session.sent.size === 1);
  session.pause();
  await settle();
  assert.equal(page.sent.filter(({ aborted }) => aborted).length, 5);
  assert.deepEqual([session.state, session.bytes, session.givenUp.size], ["paused", 10, 0]);

  page.onSend((request) => request.answer(200));
  session.resume();
  await reached(session, "done");
  assert.equal(session.sent.size, 6);
  assert.deepEqual(paths(), [`POST /v1/jobs/${session.jobId}/start`]);
});

test("after three connection failures, photos are uploaded through the API", async () => {
  const session = send(5);
  page.onSend((request) => (request.url.startsWith(STORE) ? request.lose() : request.answer(204)));
  for (let waits = 0; session.state !== "done" && waits < 5; waits += 1) await pass(20);

  assert.equal(session.state, "done");
  assert.deepEqual(
    page.sent.filter(({ url }) => !url.startsWith(STORE)).map(({ url }) => url).toSorted(),
    [0, 1, 2, 3, 4].map((index) => `/v1/jobs/${session.jobId}/uploads/${index}`),
  );
});

test("a busy store counts as reachable", async () => {
  const session = send(5);
  const busy = new Set();
  page.onSend((request) => {
    request.answer(busy.has(request.url) ? 200 : 503);
    busy.add(request.url);
  });
  await pass(1);
  await reached(session, "done");

  assert.equal(page.sent.length, 10);
  assert.equal(page.sent.every(({ url }) => url.startsWith(STORE)), true);
});

test("the pauses for a busy server double", async () => {
  const session = send(1);
  const left = [2, 1];
  page.onSend((request) => request.answer(left.pop() ? 503 : 200));
  await pass(0.9);
  assert.equal(page.sent.length, 1);
  await pass(0.1);
  assert.equal(page.sent.length, 2);
  await pass(1.9);
  assert.equal(page.sent.length, 2);
  await pass(0.1);

  await reached(session, "done");
  assert.equal(page.sent.length, 3);
});

test("when the network is back, waiting uploads continue at once", async () => {
  const session = send(1);
  let lost = true;
  page.onSend((request) => (lost ? request.lose() : request.answer(200)));
  await settle();
  lost = false;
  page.online();

  await reached(session, "done");
});

test("an expired upload URL is requested again", async () => {
  const session = send(1);
  requests = serve(({ path }) => (path.includes("uploads") ? answer({ uploads: [{ index: 0, url: `${STORE}/0?signed=2` }] }) : answer(null)));
  page.onSend((request) => request.answer(request.url.endsWith("signed=1") ? 403 : 200));
  await reached(session, "done");

  assert.deepEqual(page.sent.map(({ url }) => url), [`${STORE}/0?signed=1`, `${STORE}/0?signed=2`]);
  assert.deepEqual(paths(), [`GET /v1/jobs/${session.jobId}/uploads?cursor=0`, `POST /v1/jobs/${session.jobId}/start`]);
});

test("a repeatedly refused photo fails, the others arrive, and it can be retried", async () => {
  const session = send(3);
  requests = serve(({ path }) => answer(path.includes("uploads") ? { uploads: [] } : null));
  let refuses = true;
  page.onSend((request) => request.answer(refuses && indexOf(request) === 1 ? 403 : 200));
  await reached(session, "stuck");
  assert.deepEqual([session.problem.code, session.sent.size, session.givenUp.size], ["not_stored", 2, 1]);
  assert.equal(page.sent.filter((request) => indexOf(request) === 1).length, 5);
  assert.equal(paths().some((path) => path.endsWith("/start")), false);

  refuses = false;
  session.resume();
  await reached(session, "done");
  assert.deepEqual([session.sent.size, session.givenUp.size], [3, 0]);
});

test("uploads to a deleted job are not retried", async () => {
  const session = send(1);
  session.addresses.forget(0);
  requests = serve(() => problem(404, "job_not_found"));
  await reached(session, "stuck");

  assert.deepEqual([session.problem.code, requests.length, page.sent.length], ["job_not_found", 1, 0]);
});

test("a file deleted from the disk fails at once", async () => {
  const session = send(1);
  session.files.get(0).slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) });
  page.onSend((request) => request.lose());
  await reached(session, "stuck");

  assert.deepEqual([session.problem.code, page.sent.length], ["file_unreadable", 1]);
});

test("photos missing on the server are sent again at most twice", async () => {
  const session = send(2);
  requests = serve(({ path }) => (path.endsWith("/start") ? problem(409, "uploads_missing")
    : answer({ uploads: [{ index: 1, url: `${STORE}/1?signed=2` }], next_cursor: null })));
  page.onSend((request) => request.answer(200));
  await reached(session, "stuck");

  assert.equal(session.problem.code, "uploads_missing");
  assert.deepEqual(page.sent.map(indexOf), [0, 1, 1, 1]);
  assert.equal(session.bytes, session.totalBytes);
});

test("a missing photo that this page does not have is reported separately", async () => {
  const session = send(1);
  requests = serve(({ path }) => (path.endsWith("/start") ? problem(409, "uploads_missing")
    : answer({ uploads: [{ index: 7, url: `${STORE}/7` }], next_cursor: null })));
  page.onSend((request) => request.answer(200));
  await reached(session, "stuck");

  assert.equal(session.problem.code, "file_unreadable");
});

test("a dropped job uploads nothing more and is not started", async () => {
  const session = send(8);
  await until(() => page.sent.length === 5);
  session.drop();
  await settle();

  assert.deepEqual([session.state, page.sent.length, requests.length, sessionOf(session.jobId)], ["done", 5, 0, null]);
});

test("a stalled connection is closed after a minute, and a slow one is not", async () => {
  const session = send(1);
  await settle();
  await pass(50);
  page.sent[0].upload.onprogress({ loaded: 1 });
  await pass(50);
  assert.equal(page.sent[0].aborted, undefined);
  await pass(10);
  assert.equal(page.sent[0].aborted, true);

  page.onSend((request) => request.answer(200));
  await pass(1);
  await reached(session, "done");
});

// --- from photos to a job ---

const photo = (name, size = 10) => ({ name, file: new File(["x".repeat(size)], name.split("/").at(-1)) });

/** Respond as a server on which these photos are missing, `[index, name, size]` each. */
function miss(...uploads) {
  const described = uploads.map(([index, name, size]) => ({ index, name, size, url: `${STORE}/${index}` }));
  requests = serve(({ path }) => (path.includes("/uploads") ? answer({ uploads: described, next_cursor: null }) : answer(null)));
}

test("photos are announced with their names and sizes, and the job is named after their folder", async () => {
  requests = serve(({ json }) => answer({ ...makeJob({ id: "new" }), uploads: json?.uploads?.map((_, index) => ({ index, url: `${STORE}/${index}` })) }));
  page.onSend((request) => request.answer(200));
  const skipped = { video: 1, sidecar: 0, other: 0 };

  const job = await submitPhotos({ photos: [photo("in/a.jpg", 3), photo("in/deep/b.jpg", 4)], skipped }, { colormap: "magma" });
  const session = sessionOf(job.id);
  await reached(session, "done");

  assert.deepEqual(requests[0].json, {
    uploads: [{ name: "in/a.jpg", size: 3 }, { name: "in/deep/b.jpg", size: 4 }], options: { colormap: "magma" }, title: "in",
  });
  assert.deepEqual(session.skipped, skipped);
  assert.deepEqual(page.sent.map(({ url }) => url), [`${STORE}/0`, `${STORE}/1`]);
});

for (const [what, missing, photos, found] of [
  ["the same folder", [0, "in/a.jpg", 10], [photo("in/a.jpg")], 1],
  ["the photos without their folder", [0, "in/a.jpg", 10], [photo("a.jpg")], 1],
  ["the photos in another folder", [0, "in/a.jpg", 10], [photo("new/in/a.jpg")], 1],
  ["a photo of the same name and another size", [0, "in/a.jpg", 10], [photo("in/a.jpg", 11)], 0],
  ["a photo whose size was not announced", [0, "in/a.jpg", null], [photo("in/a.jpg", 11)], 1],
  ["of two of the same name the one of the right size", [0, "in/a.jpg", 12], [photo("x/a.jpg", 11), photo("y/a.jpg", 12)], 1],
  ["other photos", [0, "in/a.jpg", 10], [photo("in/b.jpg")], 0],
]) {
  test(`uploads continue with ${what}: ${found === 1 ? "yes" : "no"}`, async () => {
    miss(missing);
    number += 1;

    assert.deepEqual(await resumeUploads(`job${number}`, photos), { found, missing: 1 - found });
    assert.equal(sessionOf(`job${number}`) !== null, found === 1);
    sessionOf(`job${number}`)?.drop();
  });
}

test("uploads continue only if all missing photos were chosen", async () => {
  miss([0, "a.jpg", 10], [5, "b.jpg", 10]);

  assert.deepEqual(await resumeUploads("partly", [photo("a.jpg")]), { found: 1, missing: 1 });
  assert.equal(sessionOf("partly"), null);
});

test("only missing photos are sent again", async () => {
  miss([5, "b.jpg", 10]);
  page.onSend((request) => request.answer(200));
  await resumeUploads("rest", [photo("a.jpg"), photo("b.jpg")]);
  await reached(sessionOf("rest"), "done");

  assert.deepEqual(page.sent.map(({ url }) => url), [`${STORE}/5`]);
});
