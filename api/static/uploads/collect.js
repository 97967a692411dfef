// Photos out of what a person drops or picks: files, folders in folders, ZIP archives.

import { Pool } from "../pool.js";
import { isHidden, kindOf } from "./kinds.js";

const ZIP = /\.zip$/i;
/** Files and folders read at a time. */
const TOGETHER = 64;
const ORDER = new Intl.Collator(undefined, { numeric: true });

/** @typedef {{file: File, name: string}} Photo */

/**
 * What was found: `photos` are `{file, name}`, the name with its folders; `archives` are ZIP files; `skipped`
 * counts by kind what is no photo.
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
   * Take a file if it is a photo, or one that Fathom does not read: the job says so. What was chosen by itself and is
   * not known to be something else is taken too, for its owner wants to hear of it.
   */
  add(file, name) {
    const kind = kindOf(name, file.type);
    const alone = !name.includes("/");
    if (alone && ZIP.test(name)) return this.archives.push(file);
    if (isHidden(name)) return undefined;
    if (kind === "photo" || kind === "unread" || (alone && kind === "other")) return this.photos.push({ file, name });
    return ++this.skipped[kind];
  }

  /** Put the photos in the order in which people count: 9 comes before 10. */
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

/** Return what was dropped; `onProgress` gets the number of photos found so far. */
export async function fromDrop(/** @type {DataTransfer} */ transfer, onProgress = (/** @type {number} */ _) => {}) {
  const harvest = new Harvest();
  // Both must be taken before the first await: the list is emptied when the event ends.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  if (entries.length === 0) {
    for (const file of files) harvest.add(file, file.name);
    return harvest.sort();
  }
  await walk(entries, harvest, onProgress);
  return harvest.sort();
}

/** Return the folder that all photos lie in, or null. */
export function commonFolder(/** @type {Photo[]} */ photos) {
  const first = photos[0]?.name.split("/") ?? [];
  const folder = first.length > 1 ? first[0] : null;
  return folder !== null && photos.every(({ name }) => name.startsWith(`${folder}/`)) ? folder : null;
}

/** Add all files below what was dropped; `onProgress` hears after each piece of a folder. */
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

/** Yield what is in a folder, in the pieces in which a browser gives it; an empty one is the end. */
async function* piecesOf(folder) {
  const reader = folder.createReader();
  for (;;) {
    const piece = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (piece.length === 0) return;
    yield piece;
  }
}
