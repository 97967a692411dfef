// Which photos of an announced job have not arrived.

import { ask, paths } from "../api.js";

/** Return the announced photos that are not stored, as `{index, name, size, url}`. */
export async function listMissing(jobId) {
  const missing = [];
  for (let cursor = "0"; cursor !== null; ) {
    const page = await ask(paths.uploads(jobId, cursor));
    missing.push(...page.uploads);
    cursor = page.next_cursor;
  }
  return missing;
}
