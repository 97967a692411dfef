// The photo in 3D, and the ways to look around in it: pointer, finger, keys and turning the phone.

import { askBlob, paths } from "../api.js";
import { el, icon, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { FileRequest } from "../make/file_request.js";
import { DEFAULTS } from "../make/orders.js";
import { MOTIONS, amountOf } from "../scene/camera_motion.js";
import { readGlb } from "../scene/glb.js";
import { modelOf } from "../scene/model.js";
import { Relief } from "../scene/relief.js";
import { drawHeatmap } from "./heatmap.js";
import { followDevice, mayMove, prefersStillness } from "./motion.js";
import { Scene3d } from "./scene3d.js";

/** How far a key moves the eye. */
const NUDGE = 0.18;
const KEYS = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] };
/** Pixels of wheel movement that zoom all the way. */
const WHEEL = 900;

/** How much farther away than the nearest point the farthest is, where the server says nothing of it. */
const SPREAD = 2.4;

/**
 * The stage of a photo in 3D: first as its depth displaces it, then as the server's own model, if the job has one. If the
 * photo cannot be shown, the heatmap takes its place. Without depth there is only the model.
 */
export class SceneStage {
  /** @param {Omit<import("./stage_compare.js").StageOptions, "depth"> & {depth: import("./depth.js").Depth | null, aspect: number}} options */
  constructor({ photo, depth, job, index, outputs, aspect, name, colormap, onNearness, onPicture }) {
    this.photo = photo;
    this.depth = depth;
    this.job = job;
    this.place = { job, index, name };
    /** @type {string | null} the motion that plays */
    this.motion = null;
    /** @type {HTMLElement[]} */
    this.motions = [];
    this.closer = el("div");
    /** @type {FileRequest | null} */
    this.request = null;
    onNearness(null);
    onPicture(null);
    this.heatmap = document.createElement("canvas");
    this.coloured = false;
    /** @type {HTMLElement[]} */
    this.tools = [];
    /** @type {(() => void) | null} */
    this.stopDevice = null;
    this.leaving = new AbortController();
    this.relief = depth && new Relief(depth);
    /** @type {{sheets: import("../scene/relief.js").Sheet[], spread: number} | null} */
    this.model = null;
    this.#drawHeatmap(colormap);
    this.canvas = el("canvas", { class: "scene", tabindex: "0", role: "img", data: { arrows: "" }, "aria-label": t("scene.label", { name }) });
    this.scene = this.#build(aspect);
    this.note = el("p", { class: "scene-note", role: "status", hidden: true });
    this.element = this.scene ? this.#makeBox(this.scene) : el("p", { class: "stage-note" }, t("scene.no_webgl"));
    this.#show();
    if (this.scene && outputs.mesh) this.#loadModel(paths.shown(job.id, index, "mesh"), aspect);
  }

  /** Change the colours, if the heatmap is shown. */
  colour(/** @type {string} */ colormap) {
    this.#drawHeatmap(colormap);
    this.#show();
  }

  close() {
    this.leaving.abort();
    this.request?.close();
    this.stopDevice?.();
    this.scene?.close();
  }

  #drawHeatmap(colormap) {
    if (this.depth) drawHeatmap(this.heatmap, this.depth, colormap, this.job.options.invert);
  }

  #build(aspect) {
    try {
      const scene = new Scene3d(this.canvas, aspect, { sways: !prefersStillness() });
      if (this.depth) scene.measure(this.depth);
      return scene;
    } catch (error) {
      console.warn(error);
      return null;
    }
  }

  /** Show the model in the photo's own colours, or the depth in any. */
  #show() {
    const { scene, relief, model, coloured } = this;
    if (!scene) return;
    if (model && !coloured) scene.show(model.sheets, model.spread);
    else if (relief) scene.show(relief.sheets(coloured ? this.heatmap : (this.photo ?? this.heatmap)), SPREAD);
    this.canvas.dataset.source = model && !coloured ? "mesh" : "depth";
  }

  async #loadModel(path, aspect) {
    const { signal } = this.leaving;
    say(this.note, t("scene.loading"));
    toggle(this.note, true);
    try {
      const model = await modelOf(readGlb(await (await askBlob(path, { signal })).arrayBuffer()), aspect);
      if (signal.aborted) return;
      this.model = model;
      this.#show();
      toggle(this.note, false);
    } catch (error) {
      if (signal.aborted) return;
      console.warn(error);
      say(this.note, t("scene.no_model"));
    }
  }

  #makeBox(/** @type {Scene3d} */ scene) {
    this.#listen(scene);
    this.#makeTools(scene);
    const hint = el("p", { class: "scene-hint" }, t(mayMove() ? "scene.hint_touch" : "scene.hint"));
    return el("div", { class: "scene-box" }, this.canvas, this.note, hint);
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
    const { tools } = this;
    tools.push(range("scene-strength", t("scene.strength"), scene.strength, (value) => scene.set({ strength: value })));
    tools.push(this.closer);
    this.closer.append(range("scene-zoom", t("scene.zoom"), scene.zoom, (value) => scene.set({ zoom: value })));
    if (this.depth && this.photo) tools.push(this.#makeColourSwitch());
    if (mayMove()) {
      const follow = async () => { this.stopDevice = await followDevice((x, y) => scene.look(x, y)); };
      tools.push(el("button", { type: "button", class: "button", onclick: follow }, icon(ICONS.device), t("scene.device")));
    }
    tools.push(this.#makeClipTools(scene));
  }

  /** The choice of a motion, which begins at once, and the button that has the server make a clip of it. */
  #makeClipTools(/** @type {Scene3d} */ scene) {
    this.motions = MOTIONS.map((name) => el("button", {
      type: "button", class: "tab", "aria-pressed": "false", data: { motion: name },
      onclick: () => this.#play(scene, this.motion === name ? null : name),
    }, t(`motion.${name}`)));
    const kind = () => {
      // Save what is seen: if nothing moves yet, it begins to.
      if (!this.motion) this.#play(scene, DEFAULTS.motion);
      return "clip";
    };
    const settings = () => ({ ...DEFAULTS, motion: this.motion ?? DEFAULTS.motion, amount: amountOf(scene.strength) });
    this.request = new FileRequest({ photo: this.place, kind, settings, content: [icon(ICONS.download), t("scene.save_clip")], primary: true });
    return el("section", { class: "make-others" }, el("h2", {}, t("scene.motion")), el("p", { class: "hint" }, t("scene.motion_hint")),
      el("div", { class: "tabs make-kinds", role: "group", "aria-label": t("scene.motion") }, ...this.motions), this.request.element);
  }

  #play(/** @type {Scene3d} */ scene, /** @type {string | null} */ motion) {
    this.motion = motion;
    this.canvas.dataset.motion = motion ?? "";
    for (const each of this.motions) each.setAttribute("aria-pressed", String(each.dataset.motion === motion));
    // A motion says itself how near the eye comes.
    toggle(this.closer, motion === null);
    scene.play(motion);
  }

  #makeColourSwitch() {
    const change = (event) => {
      this.coloured = event.target.checked;
      this.#show();
    };
    return el("label", { class: "check" }, el("input", { type: "checkbox", id: "scene-colours", onchange: change }), t("scene.colours"));
  }
}

function range(id, label, value, onInput) {
  return el("label", { class: "field", for: id }, label,
    el("input", { id, type: "range", min: "0", max: "1", step: "0.01", value, oninput: (event) => onInput(Number(event.target.value)) }));
}
