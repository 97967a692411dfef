import assert from "node:assert/strict";
import { before, beforeEach, mock, test } from "node:test";

import { openPage } from "./browser.mjs";

let page;
let isOwn;
let put;

before(async () => {
  // Importing the module reads the key and schedules its renewal.
  mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  globalThis.sessionStorage = { getItem: () => "fathom_good" };
  ({ isOwn, put } = await import("../../../api/static/uploads/put.js"));
});

beforeEach(() => {
  page = openPage();
});

/** Put a file and let the server respond. */
function send(url, status, body = null) {
  page.onSend((request) => (status === null ? request.lose() : request.answer(status, body)));
  return put("PUT", url, new Blob(["x"]), { signal: new AbortController().signal, onBytes: () => {} });
}

test("the key is sent to the API and not to presigned URLs", async () => {
  await send("/v1/jobs/j/uploads/1", 204);
  await send("http://store.test/1?signed=1", 200);
  await send("http://fathom.test:9000/1?signed=1", 200);

  assert.deepEqual(page.sent.map(({ headers }) => headers.Authorization), ["Bearer fathom_good", undefined, undefined]);
  assert.deepEqual(page.sent.map(({ responseType }) => responseType), ["json", "text", "text"]);
});

test("a URL without a host belongs to the API", () => {
  assert.deepEqual(["/v1/x", "http://fathom.test/v1/x", "https://fathom.test/v1/x", "http://store.test/v1/x"].map(isOwn), [true, true, false, false]);
});

test("the response of the API is returned", async () => {
  assert.deepEqual(await send("/v1/jobs", 202, { id: "j" }), { id: "j" });
});

for (const [status, passing] of [[null, true], [403, false], [404, false], [413, false], [429, true], [500, true], [503, true]]) {
  test(`after ${status ?? "no response"} the same request may ${passing ? "" : "not "}succeed`, async () => {
    await assert.rejects(send("/v1/jobs", status), { passing, status, code: "not_stored" });
  });
}

test("an error of the API keeps its code and message", async () => {
  await assert.rejects(send("/v1/jobs", 413, { code: "too_large", detail: "It is too large." }), { code: "too_large", message: "It is too large." });
});

test("after the upload, the server may take ten minutes to respond", async () => {
  let over = null;
  page.onSend(() => {});
  put("PUT", "/v1/x", new Blob(["x"]), { signal: new AbortController().signal, onBytes: () => {} }).catch((error) => { over = error; });
  page.sent[0].upload.onload();
  mock.timers.tick(599_000);
  assert.equal(page.sent[0].aborted, undefined);
  mock.timers.tick(1000);
  await Promise.resolve();

  assert.equal(page.sent[0].aborted, true);
  assert.equal(over.passing, true);
});

test("an aborted upload reports the abort and nothing else", async () => {
  page.onSend(() => {});
  const stopping = new AbortController();
  const sending = put("PUT", "/v1/x", new Blob(["x"]), { signal: stopping.signal, onBytes: () => {} });
  stopping.abort();

  await assert.rejects(sending, { name: "AbortError" });
});
