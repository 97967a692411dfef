// The photo in 3D, and the ways to look around in it: pointer, finger, keys and turning the phone.

import { el, icon } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { drawHeatmap } from "./heatmap.js";
import { followDevice, mayMove, prefersStillness } from "./motion.js";
import { Scene3d } from "./scene3d.js";

/** How far a key moves the eye. */
const NUDGE = 0.18;
const KEYS = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] };
/** Pixels of wheel movement that zoom all the way. */
const WHEEL = 900;

/** The stage of a photo in 3D. If the photo cannot be shown, the heatmap takes its place. */
export class SceneStage {
  /** @param {import("./stage_compare.js").StageOptions} options */
  constructor({ photo, depth, job, name, colormap, onNearness, onPicture }) {
    this.photo = photo;
    this.depth = depth;
    this.job = job;
    onNearness(null);
    onPicture(null);
    this.heatmap = document.createElement("canvas");
    this.coloured = photo === null;
    /** @type {HTMLElement[]} */
    this.tools = [];
    /** @type {(() => void) | null} */
    this.stopDevice = null;
    this.#drawHeatmap(colormap);
    this.canvas = el("canvas", { class: "scene", tabindex: "0", role: "img", data: { arrows: "" }, "aria-label": t("scene.label", { name }) });
    this.scene = this.#build();
    this.element = this.scene ? this.#makeBox(this.scene) : el("p", { class: "stage-note" }, t("scene.no_webgl"));
  }

  /** Change the colours, if the heatmap is shown. */
  colour(/** @type {string} */ colormap) {
    this.#drawHeatmap(colormap);
    if (this.coloured) this.scene?.paint(this.heatmap);
  }

  close() {
    this.stopDevice?.();
    this.scene?.close();
  }

  #drawHeatmap(colormap) {
    drawHeatmap(this.heatmap, this.depth, colormap, this.job.options.invert);
  }

  #build() {
    try {
      return new Scene3d(this.canvas, this.photo ?? this.heatmap, this.depth, { sways: !prefersStillness() });
    } catch (error) {
      console.warn(error);
      return null;
    }
  }

  #makeBox(/** @type {Scene3d} */ scene) {
    this.#listen(scene);
    this.#makeTools(scene);
    const hint = el("p", { class: "scene-hint" }, t(mayMove() ? "scene.hint_touch" : "scene.hint"));
    return el("div", { class: "scene-box" }, this.canvas, hint);
  }

  #listen(/** @type {Scene3d} */ scene) {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      scene.look((2 * (event.clientX - box.left)) / box.width - 1, (2 * (event.clientY - box.top)) / box.height - 1);
    });
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && scene.look(0, 0));
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      scene.nudge(...KEYS[event.key]);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      scene.set({ zoom: scene.zoom - event.deltaY / WHEEL });
    }, { passive: false });
  }

  #makeTools(/** @type {Scene3d} */ scene) {
    const { photo, tools } = this;
    tools.push(range("scene-strength", t("scene.strength"), scene.strength, (value) => scene.set({ strength: value })));
    tools.push(range("scene-zoom", t("scene.zoom"), scene.zoom, (value) => scene.set({ zoom: value })));
    if (photo) tools.push(this.#makeColourSwitch(scene, photo));
    if (mayMove()) {
      const follow = async () => { this.stopDevice = await followDevice((x, y) => scene.look(x, y)); };
      tools.push(el("button", { type: "button", class: "button", onclick: follow }, icon(ICONS.device), t("scene.device")));
    }
  }

  #makeColourSwitch(/** @type {Scene3d} */ scene, /** @type {ImageBitmap} */ photo) {
    const change = (event) => {
      this.coloured = event.target.checked;
      scene.paint(this.coloured ? this.heatmap : photo);
    };
    return el("label", { class: "check" }, el("input", { type: "checkbox", id: "scene-colours", onchange: change }), t("scene.colours"));
  }
}

function range(id, label, value, onInput) {
  return el("label", { class: "field", for: id }, label,
    el("input", { id, type: "range", min: "0", max: "1", step: "0.01", value, oninput: (event) => onInput(Number(event.target.value)) }));
}
