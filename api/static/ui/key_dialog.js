// The dialog that asks for an API key.

import { el, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { openDialog } from "./dialog.js";
import { textOfCode } from "./errors.js";

/**
 * Ask for a key until `tryKey(text, kept)` resolves to null; any other value is the code of an error to show. Resolves to
 * true, or to null if the user gave up.
 */
export function askForKey(tryKey) {
  return openDialog(t("key.title"), (close) => {
    const field = el("input", {
      id: "api-key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false",
      "aria-describedby": "api-key-problem", autofocus: true,
    });
    const kept = el("input", { id: "keep-key", type: "checkbox" });
    const problem = el("p", { id: "api-key-problem", class: "problem", role: "alert", hidden: true });
    const button = el("button", { class: "button primary" }, t("key.use"));
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      const code = await tryKey(field.value.trim(), kept.checked);
      button.disabled = false;
      if (code === null) return close(true);
      say(problem, textOfCode(code));
      toggle(problem, true);
      field.select();
    };
    return [
      el("p", {}, t("key.text")),
      el("form", { class: "stack", onsubmit: submit },
        el("label", { class: "field", for: "api-key" }, t("key.label"), field),
        problem,
        el("label", { class: "check", for: "keep-key" }, kept, t("key.keep")),
        el("div", { class: "dialog-actions" },
          el("button", { type: "button", class: "button", onclick: () => close(null) }, t("dialog.cancel")), button)),
    ];
  });
}
