// What can be made of a photo and its depth, shown before it is made: a picture to look at, and buttons for the files.

import { el, icon, say, toggle } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { drawHeatmap } from "../viewer/heatmap.js";
import { prefersStillness } from "../viewer/motion.js";
import { Crosshair } from "./crosshair.js";
import { FileRequest } from "./file_request.js";
import { DEFAULTS, OTHERS, PREVIEWED } from "./orders.js";
import { Preview } from "./preview.js";

/** Milliseconds for which each eye's view is shown. */
const BLINK = 400;

/** The sliders of each kind: its setting, the least, the greatest and the step. */
const STEREO = [["divergence", 0, 5, 0.1], ["convergence", 0, 1, 0.05]];
const SLIDERS = { anaglyph: STEREO, wiggle: STEREO, normals: [["ratio", 1.5, 20, 0.5]], refocus: [["aperture", 0, 4, 0.1]] };

/** What was chosen last, for the next photo. The focus belongs to one photo. */
const kept = { ...DEFAULTS, kind: PREVIEWED[0] };

/** The stage. Without WebGL it shows a note, and the files can be made all the same. */
export class MakeStage {
  /** @param {import("../viewer/stage_compare.js").StageOptions} options */
  constructor({ photo, depth, job, index, name, colormap, onNearness, onPicture }) {
    this.depth = depth;
    this.photo = { job, index, name };
    this.focus = [...DEFAULTS.focus];
    /** @type {"left" | "right"} */
    this.eye = "left";
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    onNearness(null);
    onPicture(null);
    this.canvas = el("canvas", { class: "stage-layer make-picture", role: "img" });
    this.preview = this.#build(photo ?? heatmapOf(depth, colormap, job.options.invert));
    /** @type {Crosshair | null} */
    this.crosshair = null;
    this.element = this.preview ? this.#makeFrame() : el("p", { class: "stage-note" }, t("make.no_webgl"));
    this.kinds = PREVIEWED.map((kind) => el("button", { type: "button", class: "tab", data: { kind }, onclick: () => this.#choose(kind) }, t(`make.${kind}`)));
    this.hint = el("p", { class: "hint" });
    this.controls = el("div", { class: "panel-tools" });
    this.main = this.#makeRequest(() => kept.kind, [icon(ICONS.download), t("make.get")], true);
    this.others = OTHERS.map((kind) => this.#makeRequest(() => kind, [
      icon(ICONS.download), el("span", {}, t(`make.${kind}`), el("small", { class: "hint" }, t(`make.${kind}_hint`))),
    ]));
    this.tools = this.#makeTools();
    this.#choose(kept.kind);
  }

  /** Its pictures have no colours to choose. */
  colour() {}

  close() {
    clearInterval(this.timer);
    this.preview?.close();
    for (const request of [this.main, ...this.others]) request.close();
  }

  #build(picture) {
    try {
      return new Preview(this.canvas, picture, this.depth);
    } catch (error) {
      console.warn(error);
      return null;
    }
  }

  #makeFrame() {
    const frame = el("div", { class: "make-frame", style: { "--ratio": String(this.canvas.width / this.canvas.height) } }, this.canvas);
    this.crosshair = new Crosshair(frame, {
      place: this.focus,
      describe: ([x, y]) => t("make.focus_at", { x: percent(round(x)), y: percent(round(y)), share: percent(round(this.depth.at(x, y))) }),
      onMove: (place) => {
        this.focus = place;
        if (kept.kind === "refocus") this.#draw();
      },
    });
    return frame;
  }

  // --- the panel ---

  #makeTools() {
    return [
      el("div", { class: "tabs make-kinds", role: "group", "aria-label": t("make.kinds") }, ...this.kinds), this.hint, this.controls, this.main.element,
      el("section", { class: "make-others" }, el("h2", {}, t("make.others")), el("p", { class: "hint" }, t("make.others_hint")),
        el("ul", { class: "files", role: "list" }, ...this.others.map(({ element }) => el("li", {}, element)))),
    ];
  }

  #makeRequest(kind, content, primary = false) {
    return new FileRequest({ photo: this.photo, kind, content, primary, settings: () => ({ ...kept, focus: this.focus }) });
  }

  #choose(kind) {
    kept.kind = kind;
    for (const tab of this.kinds) tab.setAttribute("aria-pressed", String(tab.dataset.kind === kind));
    say(this.hint, t(`make.${kind}_hint`));
    this.controls.replaceChildren(...SLIDERS[kind].map((slider) => this.#makeSlider(slider)));
    this.canvas.setAttribute("aria-label", t("make.picture", { kind: t(`make.${kind}`), name: this.photo.name }));
    if (this.crosshair) toggle(this.crosshair.mark, kind === "refocus");
    this.element.toggleAttribute("data-focusing", kind === "refocus");
    this.#move(kind === "wiggle" && !prefersStillness());
    if (kind === "wiggle" && this.preview) this.controls.append(this.#makePause());
    this.#draw();
  }

  #makeSlider([name, min, max, step]) {
    const change = (event) => {
      kept[name] = Number(event.target.value);
      this.#draw();
    };
    return el("label", { class: "field", for: `make-${name}` }, t(`make.${name}`),
      el("input", { id: `make-${name}`, type: "range", min, max, step, value: kept[name], oninput: change }));
  }

  #makePause() {
    const label = el("span", {});
    const button = el("button", { type: "button", class: "button", onclick: () => {
      this.#move(this.timer === undefined);
      show();
    } });
    const show = () => {
      button.replaceChildren(icon(this.timer === undefined ? ICONS.play : ICONS.pause), label);
      say(label, t(this.timer === undefined ? "make.play" : "make.pause"));
    };
    show();
    return button;
  }

  // --- the picture ---

  /** Begin or stop to show the views of both eyes in turn. */
  #move(moving) {
    clearInterval(this.timer);
    this.timer = undefined;
    this.eye = "left";
    if (!moving || !this.preview) return;
    this.timer = setInterval(() => {
      this.eye = this.eye === "left" ? "right" : "left";
      this.#draw();
    }, BLINK);
  }

  #draw() {
    const focalNearness = this.depth.at(this.focus[0], this.focus[1]);
    this.preview?.draw(kept.kind, { ...kept, focus: this.focus, eye: this.eye, focalNearness });
  }
}

function heatmapOf(depth, colormap, inverted) {
  const canvas = document.createElement("canvas");
  drawHeatmap(canvas, depth, colormap, inverted);
  return canvas;
}

function round(share) {
  return Math.round(100 * share) / 100;
}
