// The clip that the job made of a photo, with the browser's controls.

import { t } from "../i18n/index.js";
import { clipElement, discard, play } from "./clip.js";
import { prefersStillness } from "./motion.js";

/** @import { Job } from "../api.js" */

/** The stage of a clip. `onError(error)` is told if it cannot be played. */
export class ClipStage {
  /** @param {{job: Job, index: number, name: string, onError: (error: unknown) => void}} options */
  constructor({ job, index, name, onError }) {
    /** @type {HTMLElement[]} */
    this.tools = [];
    const label = t("photo.clip_of", { name });
    this.element = clipElement(job, index, { class: "stage-clip", controls: true, preload: "metadata", alt: label, "aria-label": label, data: { arrows: "" } });
    this.failed = () => onError(new Error("The clip cannot be played."));
    this.element.addEventListener("error", this.failed);
    if (!prefersStillness()) play(this.element);
  }

  /** It has the colours that it was made in. */
  colour() {}

  close() {
    this.element.removeEventListener("error", this.failed);
    discard(this.element);
  }
}
