// The photo beside its depth, a line between them, and the nearness under the pointer.

import { el } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n/index.js";
import { drawHeatmap } from "./heatmap.js";
import { Slider } from "./slider.js";

/** The last place of the line, where the next photo begins. */
let place = 50;

/**
 * What a stage shows, and whom it tells.
 * @typedef {object} StageOptions
 * @property {ImageBitmap | null} photo
 * @property {import("./depth.js").Depth} depth
 * @property {import("../api.js").Job} job
 * @property {number} index
 * @property {Record<string, string>} outputs
 * @property {string} name
 * @property {string} colormap
 * @property {(nearness: number | null) => void} onNearness
 * @property {(canvas: HTMLCanvasElement | null) => void} onPicture
 */

/**
 * The stage of a photo and its depth. `onNearness(share)` gets the nearness under the pointer, 0 to 1, or null.
 * `onPicture(canvas)` gets the heatmap as shown.
 */
export class CompareStage {
  /** @param {StageOptions} options */
  constructor({ photo, depth, job, name, colormap, onNearness, onPicture }) {
    this.depth = depth;
    this.job = job;
    this.onNearness = onNearness;
    this.onPicture = onPicture;
    /** @type {HTMLElement[]} */
    this.tools = [];
    this.heatmap = el("canvas", { class: "stage-layer stage-depth", role: "img", "aria-label": t("photo.depth_of", { name }) });
    this.chip = el("div", { class: "nearness", hidden: true, "aria-hidden": "true" });
    this.slider = new Slider(photo ? pictureOf(photo, name) : blank(), this.heatmap, {
      start: place, onPoint: (at) => this.#point(at), onMove: (moved) => { place = moved; },
    });
    this.element = this.slider.element;
    this.element.style.setProperty("--ratio", String(depth.width / depth.height));
    this.element.append(this.chip);
    this.colour(colormap);
  }

  /** Show the depth in other colours. */
  colour(/** @type {string} */ colormap) {
    drawHeatmap(this.heatmap, this.depth, colormap, this.job.options.invert);
    this.onPicture(this.heatmap);
  }

  close() {
    this.onNearness(null);
  }

  #point(/** @type {import("./slider.js").Place | null} */ at) {
    this.chip.hidden = at === null;
    if (at === null) return this.onNearness(null);
    const nearness = this.depth.at(at.u, at.v);
    this.onNearness(nearness);
    const box = this.element.getBoundingClientRect();
    this.chip.textContent = t("photo.near", { share: percent(Math.round(100 * nearness) / 100) });
    this.chip.style.setProperty("left", `${at.x - box.left}px`);
    this.chip.style.setProperty("top", `${at.y - box.top}px`);
    this.chip.toggleAttribute("data-left", at.u > 0.75);
  }
}

function pictureOf(/** @type {ImageBitmap} */ photo, /** @type {string} */ name) {
  const canvas = el("canvas", {
    class: "stage-layer", width: photo.width, height: photo.height, role: "img", "aria-label": t("photo.photo_of", { name }),
  });
  canvas.getContext("2d")?.drawImage(photo, 0, 0);
  return canvas;
}

function blank() {
  return el("div", { class: "stage-layer stage-blank" }, el("p", {}, t("photo.not_displayable")));
}
