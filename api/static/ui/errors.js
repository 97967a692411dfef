// Errors as sentences: in the reader's language if the code is known, else in the server's words.

import { has, t } from "../i18n/index.js";

/** Say why a photo has no depth. */
export function reasonOf({ code, message }) {
  return has(`reason.${code}`) ? t(`reason.${code}`) : message;
}

/** Say why a request failed. One that is about a single photo fails with the photo's own reason. */
export function textOf(error) {
  if (has(`problem.${error.code}`)) return t(`problem.${error.code}`);
  if (has(`reason.${error.code}`)) return t(`reason.${error.code}`);
  return error.status ? error.message : t("problem.unknown");
}

export function textOfCode(code) {
  return t(has(`problem.${code}`) ? `problem.${code}` : "problem.unknown");
}
