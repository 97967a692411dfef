// The options of a job in plain words, remembered for the next album.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";
import { COLORMAPS, gradientOf } from "../viewer/colormaps.js";

const KEY = "fathom.options";
/** The outputs that the page itself needs: small pictures for the grid, and depth that a browser reads exactly. */
const ALWAYS = ["heatmap", "thumbnail"];
const MORE = ["depth16", "npy", "pfm", "comparison"];
const CHOICES = { normalize: ["image", "job"], size: ["original", "network"], edges: ["snap", "smooth"], quality: ["standard", "detailed"], heatmap_format: ["png", "jpeg"] };
/** @typedef {{outputs: string[], colormap: string, invert: boolean, normalize: string, size: string, edges: string, quality: string, heatmap_format: string}} Chosen */
/** @type {Chosen} */
const DEFAULTS = { outputs: [], colormap: "inferno", invert: false, normalize: "image", size: "original", edges: "snap", quality: "standard", heatmap_format: "png" };

/** Return the last chosen options, as the API takes them. */
export function chosenOptions() {
  const { outputs, ...others } = recall();
  return { ...others, outputs: [...ALWAYS, ...outputs] };
}

/** Summarise the options of a job in a few words. */
export function summaryOf({ outputs, colormap, normalize, quality }) {
  const parts = [t(`colormap.${colormap}`), t(`normalize.${normalize}`)];
  if (quality === "detailed") parts.push(t("quality.detailed"));
  const more = MORE.filter((output) => outputs.includes(output)).map((output) => t(`output.${output}`));
  return [...parts, ...more].join(" · ");
}

/** Make the panel to choose options in. */
export function optionsPanel() {
  const state = recall();
  const summary = el("span", { class: "options-summary" });
  const update = (changes) => {
    Object.assign(state, changes);
    store(state);
    summary.textContent = summaryOf(state);
  };
  update({});
  return el("details", { class: "options card" },
    el("summary", {}, el("span", { class: "options-title" }, t("options.title")), summary),
    el("div", { class: "options-body" },
      colormapChoice(state, update),
      el("fieldset", {}, el("legend", {}, t("options.outputs")), el("p", { class: "hint" }, t("options.outputs_hint")),
        ...MORE.map((output) => outputChoice(output, state, update))),
      ...Object.entries(CHOICES).map(([name, values]) => choice(name, values, state, update)),
      el("fieldset", {}, el("legend", {}, t("options.invert")),
        check("invert", state.invert, t("options.invert_label"), t("options.invert_hint"), (on) => update({ invert: on })))));
}

function colormapChoice(state, update) {
  return el("fieldset", { class: "wide" }, el("legend", {}, t("options.colormap")),
    el("div", { class: "swatches" }, ...COLORMAPS.map((name) => el("label", { class: "swatch" },
      el("input", {
        type: "radio", name: "colormap", value: name, checked: state.colormap === name,
        onchange: () => update({ colormap: name }),
      }),
      el("span", { class: "swatch-colours", style: { background: gradientOf(name) }, "aria-hidden": "true" }),
      t(`colormap.${name}`)))));
}

function outputChoice(output, state, update) {
  return check(`output-${output}`, state.outputs.includes(output), t(`output.${output}`), t(`output.${output}_hint`), (on) => {
    update({ outputs: MORE.filter((name) => (name === output ? on : state.outputs.includes(name))) });
  });
}

function choice(name, values, state, update) {
  return el("fieldset", {}, el("legend", {}, t(`options.${name}`)),
    ...values.map((value) => el("label", { class: "check" },
      el("input", { type: "radio", name, value, checked: state[name] === value, onchange: () => update({ [name]: value }) }),
      el("span", {}, t(`${name}.${value}`), el("small", { class: "hint" }, t(`${name}.${value}_hint`))))));
}

function check(id, checked, label, hint, onChange) {
  return el("label", { class: "check" },
    el("input", { type: "checkbox", id, checked, onchange: (event) => onChange(event.target.checked) }),
    el("span", {}, label, el("small", { class: "hint" }, hint)));
}

function recall() {
  try {
    return valid(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
  } catch {
    return { ...DEFAULTS };
  }
}

/** Return only valid options, because another version of the page may have stored them. */
function valid(stored) {
  const options = { ...DEFAULTS };
  options.outputs = MORE.filter((output) => Array.isArray(stored.outputs) && stored.outputs.includes(output));
  if (COLORMAPS.includes(stored.colormap)) options.colormap = stored.colormap;
  options.invert = stored.invert === true;
  for (const [name, values] of Object.entries(CHOICES)) if (values.includes(stored[name])) options[name] = stored[name];
  return options;
}

function store(state) {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}
