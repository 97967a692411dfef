// Makes a job of photos. They are announced, so that they are sent one by one and can continue after a reload.

import { paths } from "../api.js";
import { baseName } from "../format.js";
import { commonFolder } from "./collect.js";
import { announce, missingUploads } from "./protocol.js";
import { put } from "./put.js";
import { UploadSession } from "./upload_session.js";

/** @import { Harvest, Photo } from "./collect.js" */
/** @import { Upload } from "../api.js" */

/** The most characters that the API accepts in a title. */
const LONGEST_TITLE = 200;

/** Announce photos and begin to send them; return the job at once. `skipped` counts the other files by kind. */
export async function submitPhotos(/** @type {Harvest} */ { photos, skipped }, options) {
  const job = await announce(photos, options, titleOf(photos));
  const files = new Map(photos.map(({ file }, index) => [index, file]));
  new UploadSession(job.id, files, job.uploads, skipped);
  return job;
}

/** Send ZIP archives, and any photos with them, in one request. `onShare` gets the share sent, 0 to 1. */
export async function submitArchives({ archives, photos }, options, onShare, signal) {
  const form = new FormData();
  form.append("options", JSON.stringify(options));
  for (const archive of archives) form.append("archive", archive, archive.name);
  for (const { file, name } of photos) form.append("images", file, name);
  const bytes = [...archives, ...photos.map(({ file }) => file)].reduce((sum, { size }) => sum + size, 0);
  return put("POST", paths.jobs, form, { signal, onBytes: (sent) => onShare(Math.min(1, sent / Math.max(1, bytes))) });
}

/**
 * Continue the interrupted uploads of a job with the photos of the same folder.
 *
 * Returns how many of the missing photos were `found`, and how many are still `missing`.
 */
export async function resumeUploads(jobId, photos) {
  const missing = await missingUploads(jobId);
  const files = matchFiles(missing, photos);
  if (files.size === missing.length) new UploadSession(jobId, files, missing);
  return { found: files.size, missing: missing.length - files.size };
}

/** Find the file of each announced photo by its name and size, with or without its folder. */
function matchFiles(/** @type {Upload[]} */ missing, /** @type {Photo[]} */ photos) {
  /** @type {Map<string, File[]>} */
  const byName = new Map();
  for (const photo of photos) {
    for (const name of new Set([photo.name, baseName(photo.name)])) {
      byName.set(name, [...(byName.get(name) ?? []), photo.file]);
    }
  }
  /** @type {Map<number, File>} */
  const files = new Map();
  for (const { index, name, size } of missing) {
    const fits = (/** @type {File} */ file) => size === null || size === undefined || file.size === size;
    const file = byName.get(name)?.find(fits) ?? byName.get(baseName(name))?.find(fits);
    if (file) files.set(index, file);
  }
  return files;
}

/** Return the name of the folder that holds all photos, as the job's title. */
function titleOf(photos) {
  return (commonFolder(photos) ?? "").slice(0, LONGEST_TITLE);
}
