// Errors as sentences: in the reader's language where the code is known, else in the server's words.

import { has, t } from "../i18n/index.js";

/** Why a photo has no depth. */
export function reasonOf({ code, message }) {
  return has(`reason.${code}`) ? t(`reason.${code}`) : message;
}

/** What went wrong with a request. */
export function textOf(error) {
  if (has(`problem.${error.code}`)) return t(`problem.${error.code}`);
  return error.status ? error.message : t("problem.unknown");
}

export function textOfCode(code) {
  return t(has(`problem.${code}`) ? `problem.${code}` : "problem.unknown");
}
