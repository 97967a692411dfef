import assert from "node:assert/strict";
import { test } from "node:test";

import { Harvest, commonFolder, fromDrop, fromInput } from "../../../api/static/uploads/collect.js";
import { isHidden, kindOf } from "../../../api/static/uploads/kinds.js";

function file(path, type = "") {
  return Object.assign(new File(["x"], path.split("/").at(-1), { type }), { webkitRelativePath: path.includes("/") ? path : "" });
}

function harvest(...paths) {
  const found = new Harvest();
  for (const path of paths) found.add(file(path), path);
  return found.sort();
}

const names = (found) => found.photos.map(({ name }) => name);

/** A dropped file or folder as browsers return it; a folder is an object, read in pieces of two. */
function entry(path, content) {
  const fullPath = `/${path}`;
  if (content instanceof File) return { isFile: true, fullPath, file: (resolve) => setImmediate(resolve, content) };
  const entries = Object.entries(content).map(([name, inner]) => entry(`${path}/${name}`, inner));
  const createReader = () => {
    const left = [...entries];
    return { readEntries: (resolve) => setImmediate(resolve, left.splice(0, 2)) };
  };
  return { isFile: false, fullPath, createReader };
}

for (const [name, type, kind] of [
  ["a.jpg", "", "photo"], ["a.JPEG", "", "photo"], ["a.b.heic", "", "photo"], ["a.apng", "", "photo"],
  ["a.nef", "", "unread"], ["a.svg", "image/svg+xml", "unread"], ["a.mov", "", "video"], ["a.unknown", "video/x", "video"],
  ["a.xmp", "", "sidecar"], ["a.Labels.png", "", "sidecar"], ["a.txt", "text/plain", "other"], ["jpg", "", "other"], ["a.jpg/b", "", "other"],
  ["picture", "image/jpeg", "photo"], ["a.jpgx", "", "other"],
]) {
  test(`${name} of type ${type || "unknown"} is of the kind ${kind}`, () => assert.equal(kindOf(name, type), kind));
}

for (const name of [".a.jpg", "in/.thumbs/a.jpg", "__MACOSX/a.jpg", "in/@eaDir/a.jpg", "in/Thumbs.db", "in\\.x\\a.jpg"]) {
  test(`${name} is hidden`, () => assert.equal(isHidden(name), true));
}

test("dots in the path hide nothing", () => {
  assert.deepEqual(["./a.jpg", "../a.jpg", "a.b/c.jpg"].filter(isHidden), []);
});

test("only the photos of a folder are sent, and other files are counted", () => {
  const found = harvest("in/a.jpg", "in/b.nef", "in/c.mov", "in/d.xmp", "in/e.txt", "in/f.zip", "in/.g.jpg", "in/h.mp4");

  assert.deepEqual(names(found), ["in/a.jpg", "in/b.nef"]);
  assert.deepEqual(found.skipped, { video: 2, sidecar: 1, other: 2 });
  assert.deepEqual(found.archives, []);
});

test("a file chosen by itself is sent even if its kind is unknown, but not videos and hidden files", () => {
  const found = harvest("a.txt", "b.mov", ".c.jpg", "d.ZIP");

  assert.deepEqual(names(found), ["a.txt"]);
  assert.deepEqual(found.archives.map(({ name }) => name), ["d.ZIP"]);
  assert.deepEqual(found.skipped, { video: 1, sidecar: 0, other: 0 });
});

test("photos are in natural order", () => {
  assert.deepEqual(names(harvest("in/10.jpg", "in/9.jpg", "in/b/1.jpg", "in/1.jpg")), ["in/1.jpg", "in/9.jpg", "in/10.jpg", "in/b/1.jpg"]);
});

for (const [paths, folder] of [
  [["in/a.jpg", "in/deep/b.jpg"], "in"], [["in/a.jpg", "out/b.jpg"], null], [["a.jpg"], null], [["in/a.jpg", "inner/b.jpg"], null],
  [[], null],
]) {
  test(`${paths.join(" and ") || "nothing"} is in ${folder ?? "no folder"}`, () => {
    assert.equal(commonFolder(paths.map((name) => ({ name }))), folder);
  });
}

test("picked files keep their folders, and can be picked again", () => {
  const input = { files: [file("in/b.jpg"), file("a.jpg")], value: "C:\\fakepath\\b.jpg" };

  assert.deepEqual(names(fromInput(input)), ["a.jpg", "in/b.jpg"]);
  assert.equal(input.value, "");
});

test("a dropped folder is read recursively", async () => {
  const tree = {
    "1.jpg": file("1.jpg"), "2.jpg": file("2.jpg"), "3.jpg": file("3.jpg"), "notes.txt": file("notes.txt"),
    deep: { deeper: { "4.jpg": file("4.jpg") }, empty: {} },
  };
  const counts = [];
  const items = [{ webkitGetAsEntry: () => entry("in", tree) }, { webkitGetAsEntry: () => entry("a.jpg", file("a.jpg")) }];

  const found = await fromDrop({ items, files: [] }, (count) => counts.push(count));

  assert.deepEqual(names(found), ["a.jpg", "in/1.jpg", "in/2.jpg", "in/3.jpg", "in/deep/deeper/4.jpg"]);
  assert.equal(counts.at(-1), 5);
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b));
});

test("dropped items are read at once, because the browser empties the list", async () => {
  const items = [{ webkitGetAsEntry: () => entry("in", { "1.jpg": file("1.jpg") }) }];

  const walking = fromDrop({ items, files: [] });
  items.length = 0;

  assert.deepEqual(names(await walking), ["in/1.jpg"]);
});

test("a browser without folder support passes files", async () => {
  const files = [file("b.jpg"), file("a.jpg")];

  assert.deepEqual(names(await fromDrop({ items: [{}, {}], files })), ["a.jpg", "b.jpg"]);
});

test("a folder that cannot be read is an error, and not an empty folder", async () => {
  const broken = { isFile: false, fullPath: "/in", createReader: () => ({ readEntries: (_, reject) => reject(new Error("gone")) }) };

  await assert.rejects(fromDrop({ items: [{ webkitGetAsEntry: () => broken }], files: [] }), /gone/);
});
