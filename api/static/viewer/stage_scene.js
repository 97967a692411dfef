// The photo in 3D, and the ways to look around in it: pointer, finger, keys, and how the phone is held.

import { el, icon } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { drawHeatmap } from "./heatmap.js";
import { followDevice, mayMove, prefersStillness } from "./motion.js";
import { Scene3d } from "./scene3d.js";

/** How far a key moves the eye. */
const NUDGE = 0.18;
const KEYS = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] };
/** Pixels of the wheel that take the eye all the way. */
const WHEEL = 900;

/** The stage of a photo in 3D; where it is missing, the heatmap takes the photo's place. */
export class SceneStage {
  constructor({ photo, depth, job, name, colormap, onNearness, onPicture }) {
    Object.assign(this, { photo, depth, job });
    onNearness(null);
    onPicture(null);
    this.heatmap = document.createElement("canvas");
    this.coloured = photo === null;
    this.tools = [];
    this.#drawHeatmap(colormap);
    this.canvas = el("canvas", { class: "scene", tabindex: "0", role: "img", data: { arrows: "" }, "aria-label": t("scene.label", { name }) });
    this.scene = this.#build();
    this.element = this.scene ? this.#makeBox() : el("p", { class: "stage-note" }, t("scene.no_webgl"));
  }

  /** Show the heatmap in other colours, if it is the heatmap that is shown. */
  colour(colormap) {
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

  #makeBox() {
    this.#listen();
    this.#makeTools();
    const hint = el("p", { class: "scene-hint" }, t(mayMove() ? "scene.hint_touch" : "scene.hint"));
    return el("div", { class: "scene-box" }, this.canvas, hint);
  }

  #listen() {
    const { canvas, scene } = this;
    canvas.addEventListener("pointermove", (event) => this.#look(event));
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

  #look({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    this.scene.look((2 * (clientX - box.left)) / box.width - 1, (2 * (clientY - box.top)) / box.height - 1);
  }

  #makeTools() {
    const { scene, tools } = this;
    tools.push(range("scene-strength", t("scene.strength"), scene.strength, (value) => scene.set({ strength: value })));
    tools.push(range("scene-zoom", t("scene.zoom"), scene.zoom, (value) => scene.set({ zoom: value })));
    if (this.photo) tools.push(this.#makeColourSwitch());
    if (mayMove()) {
      const follow = async () => { this.stopDevice = await followDevice((x, y) => scene.look(x, y)); };
      tools.push(el("button", { type: "button", class: "button", onclick: follow }, icon(ICONS.device), t("scene.device")));
    }
  }

  #makeColourSwitch() {
    const change = (event) => {
      this.coloured = event.target.checked;
      this.scene.paint(this.coloured ? this.heatmap : this.photo);
    };
    return el("label", { class: "check" }, el("input", { type: "checkbox", id: "scene-colours", onchange: change }), t("scene.colours"));
  }
}

function range(id, label, value, onInput) {
  return el("label", { class: "field", for: id }, label,
    el("input", { id, type: "range", min: "0", max: "1", step: "0.01", value, oninput: (event) => onInput(Number(event.target.value)) }));
}
