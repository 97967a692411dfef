// The panel beside a photo: how to show it, what the colours mean, and its files.

import { paths } from "../api.js";
import { el, icon, say, toggle } from "../dom.js";
import { baseName, percent } from "../format.js";
import { has, t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { saveBlob } from "../make/save.js";
import { COLORMAPS, gradientOf } from "../viewer/colormaps.js";
import { canShow } from "../viewer/stage_picture.js";

/** @import { Image, Job } from "../api.js" */

/**
 * The next photo is shown as the last one was.
 * @type {{mode: string, colormap: string | null}}
 */
const kept = { mode: "compare", colormap: null };

/**
 * The panel. `onMode(mode)` gets `compare`, `scene` or `make`, `onColormap(name)` the chosen colours, and `onPicture(output)`
 * the output to show as it is.
 */
export class PhotoPanel {
  constructor({ onMode, onColormap, onPicture }) {
    this.onMode = onMode;
    this.onColormap = onColormap;
    this.onPicture = onPicture;
    /** @type {Job | null} */
    this.job = null;
    /** @type {HTMLCanvasElement | null} */
    this.picture = null;
    this.modes = el("div", { class: "tabs", role: "group", "aria-label": t("photo.view") });
    this.tabs = [this.#makeMode("compare", ICONS.compare), this.#makeMode("scene", ICONS.cube), this.#makeMode("make", ICONS.make)];
    this.modes.append(...this.tabs);
    this.maps = el("div", { class: "swatches small", role: "radiogroup", "aria-label": t("photo.colours") });
    this.maps.append(...COLORMAPS.map((name) => this.#makeSwatch(name)));
    this.tools = el("div", { class: "panel-tools", hidden: true });
    this.files = el("ul", { class: "files", role: "list" });
    this.name = "";
    this.view = el("li", {}, el("button", { type: "button", class: "file", onclick: () => this.#save() },
      ...fileTexts(t("photo.save_view"), t("photo.save_view_hint"))));
    this.facts = el("dl", { class: "photo-facts" });
    this.marker = el("span", { class: "legend-marker", hidden: true });
    this.colours = el("div", { class: "legend-colours" }, this.marker);
    this.reading = el("p", { class: "legend-reading" });
    this.weights = el("p", { class: "hint weights", hidden: true });
    this.palette = el("section", {}, el("h2", {}, t("photo.colours")), this.maps, this.#makeLegend());
    this.element = el("aside", { class: "photo-panel", "aria-label": t("photo.panel"), hidden: true }, this.modes, this.tools, this.palette,
      el("section", {}, el("h2", {}, t("photo.files")), this.files),
      el("details", { class: "photo-details" }, el("summary", {}, t("photo.details")), this.facts), this.weights);
  }

  get mode() {
    return kept.mode;
  }

  /** The colours that the user chose, else those of the job. */
  get colormap() {
    return kept.colormap ?? this.job?.options.colormap ?? COLORMAPS[0];
  }

  /** Show the panel; `modes` is false if there is no depth to show in any of them. */
  show(/** @type {{job: Job, index: number, image: Image, sidecar: any, modes?: boolean}} */ { job, index, image, sidecar, modes = true }) {
    this.job = job;
    toggle(this.modes, modes);
    for (const input of this.maps.querySelectorAll("input")) input.checked = input.value === this.colormap;
    this.#paint();
    this.#showFiles(job, index, image);
    this.#showFacts(sidecar);
    this.#showWeights(sidecar.weights.name);
    this.point(null);
    toggle(this.element, true);
  }

  showTools(elements) {
    this.tools.replaceChildren(...elements);
    toggle(this.tools, elements.length > 0);
  }

  /** Mark a nearness, 0 to 1, in the legend; null hides the mark. */
  point(nearness) {
    toggle(this.marker, nearness !== null);
    if (nearness === null) return say(this.reading, t("photo.relative"));
    say(this.reading, t("photo.near_long", { share: percent(Math.round(100 * nearness) / 100) }));
    this.marker.style.setProperty("left", `${100 * nearness}%`);
  }

  /** Offer the picture in a canvas as a file; null withdraws the offer. */
  offerPicture(canvas) {
    this.picture = canvas;
    toggle(this.view, canvas !== null);
  }

  /** Mark what is shown: a mode, or an output as it is. */
  mark(/** @type {{mode?: string, output?: string}} */ { mode, output }) {
    for (const tab of this.tabs) tab.setAttribute("aria-pressed", String(tab.dataset.mode === mode));
    for (const each of this.files.querySelectorAll("button[data-output]")) {
      each.setAttribute("aria-pressed", String(each instanceof HTMLElement && each.dataset.output === output));
    }
    toggle(this.palette, mode === "compare" || mode === "scene");
  }

  /** Change the mode. */
  choose(/** @type {string} */ mode) {
    kept.mode = mode;
    this.onMode(mode);
  }

  #makeMode(mode, drawing) {
    const pressed = String(kept.mode === mode);
    return el("button", { type: "button", class: "tab", "aria-pressed": pressed, data: { mode }, onclick: () => this.choose(mode) }, icon(drawing), t(`photo.mode_${mode}`));
  }

  #makeSwatch(name) {
    const choose = () => {
      kept.colormap = name;
      this.#paint();
      this.onColormap(name);
    };
    return el("label", { class: "swatch" },
      el("input", { type: "radio", name: "view-colormap", value: name, onchange: choose }),
      el("span", { class: "swatch-colours", "aria-hidden": "true", style: { background: gradientOf(name) } }), t(`colormap.${name}`));
  }

  #makeLegend() {
    const ends = el("div", { class: "legend-ends" }, el("span", {}, t("photo.far")), el("span", {}, t("photo.nearest")));
    return el("div", { class: "legend" }, this.colours, ends, this.reading);
  }

  #paint() {
    this.colours.style.setProperty("background", gradientOf(this.colormap, "to right", this.job?.options.invert));
  }

  #showFiles(/** @type {Job} */ job, /** @type {number} */ index, /** @type {Image} */ image) {
    const links = Object.keys(image.outputs).map((output) => {
      const [name, kind] = [`output.${output}`, `output.${output}_kind`];
      const texts = [t(has(name) ? name : "output.other", { name: output }), t(has(kind) ? kind : "output.other_kind")];
      const link = el("a", { class: "file", href: paths.output(job.id, index, output), download: true }, ...fileTexts(...texts));
      return el("li", { class: "file-line" }, link, canShow(output) && this.#makeLook(output, texts[0]));
    });
    this.name = image.name;
    this.files.replaceChildren(...links, this.view);
  }

  #makeLook(output, name) {
    const label = t("photo.show", { name });
    return el("button", {
      type: "button", class: "button round", title: label, "aria-label": label, "aria-pressed": "false", data: { output },
      onclick: () => this.onPicture(output),
    }, icon(ICONS.look));
  }

  async #save() {
    const { picture, name } = this;
    if (!picture) return;
    /** @type {Blob | null} */
    const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/png"));
    if (blob) saveBlob(blob, `${baseName(name).replace(/\.[^.]*$/, "")}.depth-view.png`);
  }

  #showFacts({ original_size: photo, output_size: depth, model, weights, engine, precision, source }) {
    const rows = {
      photo: t("photo.size", photo), depth: t("photo.size", depth), format: source.format.toUpperCase(),
      network: model, weights: weights.name, engine: `${engine}, ${precision}`,
    };
    const cells = ([key, value]) => [el("dt", {}, t(`fact.${key}`)), el("dd", {}, el("bdi", {}, value))];
    this.facts.replaceChildren(...Object.entries(rows).flatMap(cells));
  }

  /** Show a note about weights that are not the official ones. */
  #showWeights(name) {
    const known = has(`weights.${name}`);
    toggle(this.weights, known);
    if (known) say(this.weights, t(`weights.${name}`));
  }
}

function fileTexts(name, kind) {
  return [icon(ICONS.download), el("span", {}, name, el("small", { class: "hint" }, kind))];
}
