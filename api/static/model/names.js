// The name of a job.

import { moment } from "../format.js";
import { t } from "../i18n/index.js";

/** Return a job's `name`: its title or, if `dated`, the time when it was made. */
export function nameOfJob(/** @type {import("../api.js").Job} */ job) {
  if (job.title) return { name: job.title, dated: false };
  return { name: t("job.untitled", { moment: moment(job.created_at) }), dated: true };
}
