// Dialogs that ask the user something.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";

let count = 0;

/**
 * Open a dialog. `build(close)` returns its content, and `close(value)` closes it. Resolves to the value, or to null if
 * the user pressed Escape.
 */
export function openDialog(title, build) {
  count += 1;
  const id = `dialog-${count}`;
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "dialog", "aria-labelledby": id });
    let value = null;
    const close = (given) => {
      value = given;
      dialog.close();
    };
    dialog.append(el("h2", { id }, title), ...build(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(value);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Ask before an action that cannot be undone. Resolves to true or false. */
export async function confirmed({ title, text, action }) {
  const answer = await openDialog(title, (close) => [
    el("p", {}, text),
    el("div", { class: "dialog-actions" },
      el("button", { type: "button", class: "button", autofocus: true, onclick: () => close(false) }, t("dialog.keep")),
      el("button", { type: "button", class: "button danger", onclick: () => close(true) }, action)),
  ]);
  return answer === true;
}
