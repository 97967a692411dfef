// The view for an unknown address.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";

export function open(main, _, { title }) {
  title(t("missing.title"));
  main.append(el("div", { class: "narrow" },
    el("h1", { tabindex: "-1" }, t("missing.title")),
    el("p", {}, t("missing.text")),
    el("p", {}, el("a", { class: "button primary", href: "/" }, t("nav.new")))));
}
