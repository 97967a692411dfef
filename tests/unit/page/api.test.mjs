import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Offline, Problem, ask, askBlob, paths } from "../../../api/static/api.js";
import { reasonOf, textOf } from "../../../api/static/ui/errors.js";
import { answer, openPage, problem, serve, settle } from "./browser.mjs";

beforeEach(() => {
  openPage();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

/** Return the responses in order; an Error is a lost connection. */
function reply(...answers) {
  return serve(() => {
    const next = answers.shift();
    if (next instanceof Error) throw next;
    return next;
  });
}

async function pass(seconds) {
  await settle();
  mock.timers.tick(1000 * seconds);
  await settle();
}

test("a repeated request is identical, so it takes effect once", async () => {
  const requests = reply(problem(503, "busy"), new TypeError("lost"), answer({ id: "j" }));
  const asking = ask("/v1/jobs", { method: "POST", json: { a: 1 } });
  await pass(2);
  await pass(4);

  assert.deepEqual(await asking, { id: "j" });
  assert.equal(requests.length, 3);
  assert.match(requests[0].headers["Idempotency-Key"], /^[0-9a-f]{32}$/);
  assert.equal(new Set(requests.map(({ headers }) => headers["Idempotency-Key"])).size, 1);
  assert.equal(requests[0].headers["Content-Type"], "application/json");
});

test("two requests have different idempotency keys", async () => {
  const requests = reply(answer({}), answer({}));
  await ask("/v1/jobs", { method: "POST", json: {} });
  await ask("/v1/jobs", { method: "POST", json: {} });

  assert.notEqual(requests[0].headers["Idempotency-Key"], requests[1].headers["Idempotency-Key"]);
});

test("Retry-After is obeyed up to fifteen seconds", async () => {
  for (const [named, waited] of [["3", 3], ["3600", 15]]) {
    const requests = reply(problem(429, "slow", { "Retry-After": named }), answer(1));
    const asking = ask("/");
    await pass(waited - 0.1);
    assert.equal(requests.length, 1);
    await pass(0.1);
    assert.equal(await asking, 1);
  }
});

test("a request fails after four tries", async () => {
  const requests = reply(...Array.from({ length: 9 }, () => new TypeError("lost")));
  const asking = assert.rejects(ask("/"), Offline);
  for (let tries = 0; tries < 4; tries += 1) await pass(15);
  await asking;

  assert.equal(requests.length, 4);
});

for (const [status, passing] of [[400, false], [404, false], [409, false], [429, true], [500, false], [502, true], [503, true], [504, true]]) {
  test(`a response of ${status} ${passing ? "passes" : "stays"}`, () => {
    assert.equal(new Problem(status, null).passing, passing);
  });
}

test("an error of the API has its own message, and one of a proxy its status", async () => {
  reply(problem(409, "job_not_paused"));
  await assert.rejects(ask("/"), { name: "Error", status: 409, code: "job_not_paused", message: "It is job_not_paused." });
  reply({ ...answer(null, { status: 500 }), json: () => Promise.reject(new SyntaxError("html")) });
  await assert.rejects(ask("/"), { status: 500, code: "unknown", message: "HTTP 500" });
});

test("an aborted request gets no response and no error of ours", async () => {
  const leaving = new AbortController();
  leaving.abort();
  const requests = reply();

  await assert.rejects(askBlob("/v1/x", { signal: leaving.signal }), { name: "AbortError" });
  assert.equal(requests.length, 0);
});

test("a response without a body is null", async () => {
  reply(answer(null, { status: 204 }));

  assert.equal(await ask("/v1/jobs/j", { method: "DELETE" }), null);
});

test("queries are encoded as in URLs", () => {
  assert.equal(paths.images("j", { state: "failed", cursor: "a b", limit: 200 }), "/v1/jobs/j/images?state=failed&cursor=a+b&limit=200");
  assert.equal(paths.jobsPage({ limit: 24 }), "/v1/jobs?limit=24");
});

test("an error is shown in the words of the page, or else of the server", () => {
  assert.equal(textOf(new Problem(404, { code: "something_new", detail: "It is new." })), "It is new.");
  assert.notEqual(textOf(new Offline()), "offline");
  assert.equal(textOf(new RangeError("a mistake")), textOf(new Error("another")));
  assert.equal(reasonOf({ code: "something_new", message: "It is new." }), "It is new.");
});
