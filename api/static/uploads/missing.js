// Which photos of an announced job have not arrived.

import { ask, paths } from "../api.js";

/** Return the announced photos that are not stored. */
export async function listMissing(/** @type {string} */ jobId) {
  /** @type {import("../api.js").Upload[]} */
  const missing = [];
  /** @type {string | null} */
  let cursor = "0";
  while (cursor !== null) {
    const page = await ask(paths.uploads(jobId, cursor));
    missing.push(...page.uploads);
    cursor = page.next_cursor;
  }
  return missing;
}
