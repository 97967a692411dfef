import assert from "node:assert/strict";
import { test } from "node:test";

import { Depth, loadDepth } from "../../../api/static/viewer/depth.js";
import { answer, makeJob, openPage, problem, serve } from "./browser.mjs";
import { writePng } from "./pngs.mjs";

openPage();

const SIDECAR = { min: 100, max: 300, range: { low: 150, high: 250 } };

/** Serve these outputs of image 4 of a job, and load its depth. */
async function load(outputs, { sidecar = SIDECAR, signal = new AbortController().signal } = {}) {
  const job = makeJob({ options: { outputs: Object.keys(outputs), colormap: "inferno", invert: false } });
  const requests = serve(({ path }) => {
    const name = /^\/v1\/jobs\/j\/images\/4\/(\w+)\?stream=1$/.exec(path)[1];
    if (name === "depth") return answer(sidecar);
    return outputs[name] instanceof ArrayBuffer ? answer(new Blob([outputs[name]], { type: "image/png" })) : outputs[name];
  });
  const { depth } = await loadDepth(job, 4, signal);
  return { depth, asked: requests.map(({ path }) => path.split(/[/?]/).at(-2)) };
}

function assertNear(found, expected) {
  assert.equal(found.length, expected.length);
  for (const [at, value] of expected.entries()) assert.ok(Math.abs(found[at] - value) < 1e-4, `${found} is not ${expected}`);
}

function writeNpy(rows, { order = "False", type = "<f4" } = {}) {
  const header = `{'descr': '${type}', 'fortran_order': ${order}, 'shape': (${rows.length}, ${rows[0].length}), }\n`;
  const size = new Uint8Array([header.length & 255, header.length >> 8]);
  const head = Buffer.concat([Buffer.from([0x93]), Buffer.from("NUMPY"), Buffer.from([1, 0]), size, Buffer.from(header)]);
  return Uint8Array.from(Buffer.concat([head, Buffer.from(Float32Array.from(rows.flat()).buffer)])).buffer;
}

function writePfm(rows) {
  const head = Buffer.from(`Pf\n${rows[0].length} ${rows.length}\n-1.0\n`);
  return Uint8Array.from(Buffer.concat([head, Buffer.from(Float32Array.from(rows.toReversed().flat()).buffer)])).buffer;
}

test("16-bit gray is scaled to the range of the colours and clipped", async () => {
  // 0 means 100 and 65535 means 300; the colours cover 150 to 250.
  const { depth } = await load({ depth16: writePng([[0, 65535, 32768], [16384, 49151, 24576]], { bits: 16 }) });

  assert.deepEqual([depth.width, depth.height, depth.source], [3, 2, "depth16"]);
  assertNear(depth.values, [0, 1, 0.5, 0, 1, 0.25]);
});

test("the index of a heatmap's colour is the depth", async () => {
  const { depth } = await load({ heatmap: writePng([[0, 51, 255]]) });

  assertNear(depth.values, [0, 0.2, 1]);
});

test("NumPy's rows begin at the top, those of a float map at the bottom", async () => {
  const rows = [[100, 150, 175], [200, 250, 300]];

  for (const outputs of [{ npy: writeNpy(rows) }, { pfm: writePfm(rows) }]) {
    const { depth } = await load(outputs);

    assert.deepEqual([depth.width, depth.height], [3, 2]);
    assertNear(depth.values, [0, 0, 0.25, 0.5, 1, 1]);
  }
});

test("arrays of other kinds are refused", async () => {
  for (const options of [{ order: "True" }, { type: ">f4" }]) {
    await assert.rejects(load({ npy: writeNpy([[1, 2]], options) }), /npy is of another kind/);
  }
  await assert.rejects(load({ pfm: new TextEncoder().encode("PF\n1 1\n-1.0\n").buffer }), /pfm is of another kind/);
});

test("a photo whose depth is the same everywhere is far everywhere", async () => {
  const { depth } = await load({ depth16: writePng([[0, 65535]], { bits: 16 }) }, { sidecar: { min: 5, max: 5, range: { low: 5, high: 5 } } });

  assertNear(depth.values, [0, 0]);
});

test("the most exact output is read, whatever the order of the outputs", async () => {
  const [row, gray] = [writePng([[255]]), writePng([[40000]], { bits: 16 })];

  const { asked } = await load({ thumbnail: row, npy: writeNpy([[1]]), heatmap: row, depth16: gray });

  assert.deepEqual(asked, ["depth", "depth16"]);
});

test("an unreadable output is replaced by the next", async () => {
  const broken = new ArrayBuffer(20);

  const { depth, asked } = await load({ depth16: broken, heatmap: problem(404, "not_found"), npy: writeNpy([[200]]) });

  assert.deepEqual(asked, ["depth", "depth16", "heatmap", "npy"]);
  assert.equal(depth.source, "npy");
});

test("a job without depth has none, and one with broken outputs says why", async () => {
  assert.equal((await load({})).depth, null);
  await assert.rejects(load({ depth16: new ArrayBuffer(20) }), /no PNG/);
});

test("an aborted read waits for nothing more", async () => {
  const leaving = new AbortController();
  leaving.abort();

  await assert.rejects(load({ heatmap: writePng([[1]]) }, { signal: leaving.signal }), { name: "AbortError" });
});

test("aborting while an output is fetched prevents the next request", async () => {
  const leaving = new AbortController();
  const job = makeJob({ options: { outputs: ["depth16", "heatmap"] } });
  const requests = serve(({ path }) => {
    if (!path.includes("depth16")) return answer(SIDECAR);
    leaving.abort();
    throw leaving.signal.reason;
  });

  await assert.rejects(loadDepth(job, 4, leaving.signal), { name: "AbortError" });
  assert.equal(requests.length, 2);
});

test("a photo larger than a screen is averaged over squares", async () => {
  // 2049 pixels become 1025: pairs, and the last one alone.
  const row = Array.from({ length: 2049 }, (_, x) => (x % 2 === 0 ? 0 : 100));
  const { depth } = await load({ heatmap: writePng([row, row, row.with(2048, 255)]) });

  assert.deepEqual([depth.width, depth.height], [1025, 2]);
  assert.ok(Math.abs(depth.values[7] - 50 / 255) < 1e-6);
  assert.equal(depth.values[1024], 0);
  assert.equal(depth.values[2049], 1);
});

test("every position of a photo has a nearness, including its edges", () => {
  const depth = new Depth(2, 2, Float32Array.from([0, 0.25, 0.5, 1]), "depth16");

  const places = [[0, 0], [0.49, 0.49], [0.5, 0], [0, 0.5], [1, 1], [-0.1, 1.1], [0.99, 0]];
  assert.deepEqual(places.map(([u, v]) => depth.at(u, v)), [0, 0, 0.25, 0.5, 1, 0.5, 0.25]);
});
