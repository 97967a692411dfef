import assert from "node:assert/strict";
import { test } from "node:test";

import { Pool } from "../../../api/static/pool.js";
import { settle } from "./browser.mjs";

/** A pool over a list of items; each runs until the test finishes it. */
function makePool(limit, items) {
  const working = new Map();
  const pool = new Pool(limit, () => items.shift(), (item) => new Promise((resolve) => working.set(item, resolve)));
  const finish = async (item) => {
    working.get(item)();
    working.delete(item);
    await settle();
  };
  return { pool, finish, working: () => [...working.keys()] };
}

test("the pool runs no more tasks than its limit, and begins the next when one ends", async () => {
  const { pool, finish, working } = makePool(2, [1, 2, 3]);
  const done = pool.run();
  assert.deepEqual(working(), [1, 2]);
  await finish(1);
  assert.deepEqual(working(), [2, 3]);
  await finish(2);
  await finish(3);

  await done;
  assert.deepEqual(working(), []);
});

test("tasks added later share the limit with running ones", async () => {
  const items = [1];
  const { pool, finish, working } = makePool(2, items);
  pool.run();
  items.push(2, 3);
  pool.run();
  assert.deepEqual(working(), [1, 2]);
  await finish(2);

  assert.deepEqual(working(), [1, 3]);
});

test("a task that adds tasks and waits for them stays within the limit", async () => {
  const items = [3];
  const seen = [];
  let busy = 0;
  let most = 0;
  const pool = new Pool(2, () => items.pop(), async (depth) => {
    busy += 1;
    most = Math.max(most, busy);
    await settle();
    seen.push(depth);
    if (depth > 0) {
      items.push(depth - 1, depth - 1);
      await pool.run();
    }
    busy -= 1;
  });
  await pool.run();

  assert.deepEqual(seen.toSorted(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3]);
  assert.equal(most, 2);
});

test("an error ends the wait, and frees its place", async () => {
  const items = ["bad", "good"];
  const seen = [];
  const pool = new Pool(1, () => items.shift(), async (item) => {
    if (item === "bad") throw new Error("broken");
    seen.push(item);
  });

  await assert.rejects(pool.run(), /broken/);
  await pool.run();
  assert.deepEqual(seen, ["good"]);
});
