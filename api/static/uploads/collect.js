// Finds the photos in what a user drops or picks: files, nested folders, ZIP archives.

import { Pool } from "../pool.js";
import { isHidden, kindOf } from "./kinds.js";

const ZIP = /\.zip$/i;
/** Files and folders read at a time. */
const TOGETHER = 64;
const ORDER = new Intl.Collator(undefined, { numeric: true });

/** @typedef {{file: File, name: string}} Photo */

/**
 * What was found: `photos` are `{file, name}`, with folders in the name; `archives` are ZIP files; `skipped` counts the
 * other files by kind.
 */
export class Harvest {
  constructor() {
    /** @type {Photo[]} */
    this.photos = [];
    /** @type {File[]} */
    this.archives = [];
    this.skipped = { video: 0, sidecar: 0, other: 0 };
  }

  /**
   * Take a file if it is a photo, or a picture that Fathom does not read, so that the job says so. A file of unknown kind
   * that was chosen by itself is taken too, because its owner wants to hear about it.
   */
  add(file, name) {
    const kind = kindOf(name, file.type);
    const alone = !name.includes("/");
    if (alone && ZIP.test(name)) return this.archives.push(file);
    if (isHidden(name)) return undefined;
    if (kind === "photo" || kind === "unread" || (alone && kind === "other")) return this.photos.push({ file, name });
    return ++this.skipped[kind];
  }

  /** Sort the photos as people count: 9 comes before 10. */
  sort() {
    this.photos.sort((a, b) => ORDER.compare(a.name, b.name));
    return this;
  }
}

/** Return what was picked with an `<input type="file">`. */
export function fromInput(input) {
  const harvest = new Harvest();
  for (const file of input.files) harvest.add(file, file.webkitRelativePath || file.name);
  input.value = "";
  return harvest.sort();
}

/** Return what was dropped. `onProgress` gets the number of photos found so far. */
export async function fromDrop(/** @type {DataTransfer} */ transfer, onProgress = (/** @type {number} */ _) => {}) {
  const harvest = new Harvest();
  // Read both before the first await, because the browser empties the list when the event ends.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  if (entries.length === 0) {
    for (const file of files) harvest.add(file, file.name);
    return harvest.sort();
  }
  await walk(entries, harvest, onProgress);
  return harvest.sort();
}

/** Return the folder that holds all photos, or null. */
export function commonFolder(/** @type {Photo[]} */ photos) {
  const first = photos[0]?.name.split("/") ?? [];
  const folder = first.length > 1 ? first[0] : null;
  return folder !== null && photos.every(({ name }) => name.startsWith(`${folder}/`)) ? folder : null;
}

/** Add all files below the dropped entries. `onProgress` is called after each piece of a folder. */
async function walk(dropped, harvest, onProgress) {
  const entries = dropped.toReversed();
  const pool = new Pool(TOGETHER, () => entries.pop(), async (entry) => {
    if (entry.isFile) return void harvest.add(await fileOf(entry), entry.fullPath.replace(/^\//, ""));
    for await (const piece of piecesOf(entry)) {
      entries.push(...piece);
      await pool.run();
      onProgress(harvest.photos.length);
    }
  });
  await pool.run();
  onProgress(harvest.photos.length);
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** Yield the entries of a folder in pieces, as the browser gives them; an empty piece is the end. */
async function* piecesOf(folder) {
  const reader = folder.createReader();
  for (;;) {
    const piece = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (piece.length === 0) return;
    yield piece;
  }
}
