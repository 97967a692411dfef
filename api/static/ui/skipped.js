// A sentence about the files of an album that are not photos.

import { language, t } from "../i18n/index.js";

/** Say how many files were skipped and why, or nothing if none were. `skipped` counts them by kind. */
export function skippedText(skipped) {
  const counts = Object.entries(skipped ?? {}).filter(([, count]) => count > 0);
  if (counts.length === 0) return "";
  const count = counts.reduce((sum, [, each]) => sum + each, 0);
  const why = new Intl.ListFormat(language()).format(counts.map(([kind, each]) => t(`skipped.${kind}`, { count: each })));
  return t("skipped.line", { count, why });
}
