// The options of a job in plain words, remembered for the next album.

import { askModels } from "../api.js";
import { onKeyChange } from "../api_key.js";
import { el, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { modelOption, pick, takesDetail } from "../networks/choice.js";
import { OWN, PRESETS, presetCards } from "../presets/cards.js";
import { ALWAYS, optionsOf } from "../presets/outputs.js";
import { COLORMAPS, gradientOf } from "../viewer/colormaps.js";
import { ModelChoice } from "./model_choice.js";

/** @import { Model } from "../api.js" */

const KEY = "fathom.options";
/** The outputs that have the colours chosen. */
const COLOURED = new Set(["heatmap", "thumbnail", "comparison"]);
const MORE = ["depth16", "npy", "pfm", "comparison"];
/** What is made of a photo and its depth. */
const MADE = ["exr", "normals", "controlnet", "stereo", "mesh", "cloud", "layers", "refocus", "clip", "embedded"];
const CHOICES = { normalize: ["image", "job"], size: ["original", "network"], edges: ["snap", "smooth"], quality: ["standard", "detailed"], heatmap_format: ["png", "jpeg"] };
/** @typedef {{preset: string, outputs: string[], colormap: string, invert: boolean, model: string, normalize: string, size: string, edges: string, quality: string, heatmap_format: string}} Chosen */
/** @type {Chosen} */
const DEFAULTS = { preset: OWN, outputs: [], colormap: "inferno", invert: false, model: "", normalize: "image", size: "original", edges: "snap", quality: "standard", heatmap_format: "png" };

/** Summarise the options of a job in a few words. */
export function summaryOf({ outputs, colormap, normalize, quality }) {
  const colours = outputs.some((output) => COLOURED.has(output)) ? [t(`colormap.${colormap}`)] : [];
  const detail = quality === "detailed" ? [t("quality.detailed")] : [];
  const more = [...MORE, ...MADE].filter((output) => outputs.includes(output)).map((output) => t(`output.${output}`));
  return [...colours, t(`normalize.${normalize}`), ...detail, ...more].join(" · ");
}

/** The panel to choose options in: what the album is for, the network and, for heatmaps, everything about them. */
export class OptionsPanel {
  constructor() {
    this.state = recall();
    /** @type {Model[] | null} */
    this.models = null;
    this.closing = new AbortController();
    this.summary = el("span", { class: "options-summary" });
    this.hint = el("p", { class: "hint", role: "status" });
    this.model = new ModelChoice((name) => this.#update({ model: name }));
    const update = (changes) => this.#update(changes);
    this.choices = Object.fromEntries(Object.entries(CHOICES).map(([name, values]) => [name, choice(name, values, this.state, update)]));
    this.details = makeDetails(this.summary, this.state, Object.values(this.choices), update);
    this.#show();
    this.element = el("div", { class: "options card" },
      presetCards(this.state.preset, (preset) => update({ preset })), this.hint, this.model.element, this.details);
    this.forgetKeys = onKeyChange(() => this.askModels());
    this.askModels();
  }

  close() {
    this.closing.abort();
    this.forgetKeys();
  }

  /** Ask the server which networks there are, now. */
  askModels() {
    this.asking = this.#takeModels();
  }

  /** Return the chosen options, as the API takes them. A preset stands for all others but the network. */
  async chosen() {
    await this.asking;
    const { preset, outputs, model, quality, ...others } = this.state;
    const picked = pick(this.models, model);
    if (preset !== OWN) return { ...optionsOf(preset), ...modelOption(picked) };
    const detail = takesDetail(picked) ? quality : DEFAULTS.quality;
    return { ...others, ...modelOption(picked), quality: detail, outputs: [...ALWAYS, ...outputs] };
  }

  async #takeModels() {
    const models = await askModels(this.closing.signal);
    if (this.closing.signal.aborted) return;
    this.models = models;
    // A network that is gone is forgotten. While no worker is alive, that is not known.
    const picked = pick(models, this.state.model);
    if (picked && this.state.model !== "" && picked.name !== this.state.model) this.#update({ model: "" });
    this.model.offer(models, picked);
    this.#show();
  }

  #update(changes) {
    Object.assign(this.state, changes);
    store(this.state);
    this.#show();
  }

  #show() {
    const { state, hint, summary, details, choices } = this;
    const picked = pick(this.models, state.model);
    this.model.mark(picked);
    toggle(choices.quality, takesDetail(picked));
    const quality = takesDetail(picked) ? state.quality : DEFAULTS.quality;
    summary.textContent = summaryOf({ ...state, quality, outputs: [...ALWAYS, ...state.outputs] });
    toggle(details, state.preset === OWN);
    toggle(hint, state.preset !== OWN);
    say(hint, `${t(`preset.${state.preset}_hint`)} ${t("preset.also")}`);
  }
}

function makeDetails(summary, state, choices, update) {
  return el("details", { class: "options-own" },
    el("summary", {}, el("span", { class: "options-title" }, t("options.title")), summary),
    el("div", { class: "options-body" },
      colormapChoice(state, update),
      el("fieldset", {}, el("legend", {}, t("options.outputs")), el("p", { class: "hint" }, t("options.outputs_hint")),
        ...MORE.map((output) => outputChoice(output, state, update)),
        el("details", { class: "options-made" }, el("summary", {}, t("options.outputs_more")),
          ...MADE.map((output) => outputChoice(output, state, update)))),
      ...choices,
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
    update({ outputs: [...MORE, ...MADE].filter((name) => (name === output ? on : state.outputs.includes(name))) });
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
  if (PRESETS.includes(stored.preset)) options.preset = stored.preset;
  options.outputs = [...MORE, ...MADE].filter((output) => Array.isArray(stored.outputs) && stored.outputs.includes(output));
  if (COLORMAPS.includes(stored.colormap)) options.colormap = stored.colormap;
  options.invert = stored.invert === true;
  if (typeof stored.model === "string") options.model = stored.model;
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
