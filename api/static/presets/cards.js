// What an album may be wanted for, as a row of pictures to choose from.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";
import { PICTURED, pictureOf } from "./pictures.js";

/** The choice that is none of the server's presets: heatmaps, with options of one's own. */
export const OWN = "heatmaps";
/** The server's presets. */
export const PRESETS = PICTURED.filter((name) => name !== OWN);

/** Make the cards. `onChoose(name)` gets a preset or OWN. */
export function presetCards(/** @type {string} */ chosen, /** @type {(name: string) => void} */ onChoose) {
  return el("fieldset", { class: "presets" }, el("legend", {}, t("options.preset")),
    el("div", { class: "preset-cards" }, ...PICTURED.map((name) => el("label", { class: "preset", title: t(`preset.${name}_hint`) },
      el("input", { type: "radio", name: "preset", value: name, checked: name === chosen, onchange: () => onChoose(name) }),
      pictureOf(name), el("span", {}, t(`preset.${name}`))))));
}
