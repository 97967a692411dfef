// A picture that the job made, as it is.

import { askBlob, paths } from "../api.js";
import { el } from "../dom.js";
import { t } from "../i18n/index.js";

/** The outputs that are pictures for people, in formats that browsers show; those that tell most come first. */
const SHOWN = ["comparison", "controlnet", "normals", "refocus", "stereo", "stereo_left", "stereo_right"];

/** @import { Job } from "../api.js" */

/** Return whether an output can be shown as it is: a picture, a clip, or a model in 3D. */
export function canShow(/** @type {string} */ output) {
  return [...SHOWN, "mesh", "clip"].includes(output);
}

/** Return the output to show for a photo whose job made neither thumbnails nor heatmaps; undefined if none can be shown. */
export function pictureAmong(/** @type {string[]} */ outputs) {
  return [...SHOWN, "depth16"].find((output) => outputs.includes(output));
}

/** The stage of one output. `onError(error)` is told if it cannot be shown. */
export class PictureStage {
  /** @param {{job: Job, index: number, output: string, onError: (error: unknown) => void}} options */
  constructor({ job, index, output, onError }) {
    this.leaving = new AbortController();
    /** @type {HTMLElement[]} */
    this.tools = [];
    this.canvas = el("canvas", { class: "stage-layer", role: "img", "aria-label": t(`output.${output}`), hidden: true });
    this.element = el("div", { class: "make-frame" }, this.canvas);
    this.#load(paths.shown(job.id, index, output)).catch((error) => {
      if (!this.leaving.signal.aborted) onError(error);
    });
  }

  /** It has the colours that it was made in. */
  colour() {}

  close() {
    this.leaving.abort();
  }

  async #load(path) {
    const { signal } = this.leaving;
    const picture = await createImageBitmap(await askBlob(path, { signal }));
    if (signal.aborted) return;
    const { canvas, element } = this;
    Object.assign(canvas, { width: picture.width, height: picture.height, hidden: false });
    element.style.setProperty("--ratio", String(picture.width / picture.height));
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    picture.close();
  }
}
