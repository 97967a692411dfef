// Plays the clip of a photo in its cell: under the pointer, with the focus of the keyboard, or by a button.

import { el, icon } from "../dom.js";
import { baseName } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { clipElement, discard, play } from "../viewer/clip.js";
import { prefersStillness } from "../viewer/motion.js";

/** @import { Job } from "../api.js" */

/** @type {CellClip | null} the one that plays; a finger leaves no cell, so the next one takes its turn */
let current = null;

/** The clip over a `box` in `cell`, and its button. Whoever prefers less motion has only the button. */
export class CellClip {
  /** @param {{cell: HTMLElement, box: HTMLElement, job: Job, index: number, name: string, signal: AbortSignal}} options */
  constructor({ cell, box, job, index, name, signal }) {
    this.box = box;
    this.job = job;
    this.index = index;
    /** @type {HTMLElement | null} */
    this.clip = null;
    const tabindex = cell.querySelector("a")?.getAttribute("tabindex") ?? "-1";
    const label = t("job.play_clip", { name: baseName(name) });
    this.button = el("button", {
      type: "button", class: "clip-button", title: label, "aria-label": label, "aria-pressed": "false", tabindex,
      onclick: () => (this.clip ? this.stop() : this.start()),
    }, icon(ICONS.play));
    cell.append(this.button);
    cell.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.#offer(), { signal });
    cell.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.stop(), { signal });
    cell.addEventListener("focusin", ({ target }) => isLinkOfKeyboard(target) && this.#offer(), { signal });
    cell.addEventListener("focusout", ({ relatedTarget }) => this.#leave(cell, relatedTarget), { signal });
    signal.addEventListener("abort", () => this.stop());
  }

  start() {
    current?.stop();
    current = this;
    const clip = clipElement(this.job, this.index, { class: "thumb-clip", alt: "", preload: "none", "aria-hidden": "true", tabindex: "-1" });
    const show = () => { clip.dataset.loaded = ""; };
    clip.addEventListener(clip instanceof HTMLVideoElement ? "playing" : "load", show);
    clip.addEventListener("error", () => this.clip === clip && this.stop());
    this.clip = clip;
    this.box.append(clip);
    this.#mark(true);
    play(clip);
  }

  stop() {
    if (!this.clip) return;
    const { clip } = this;
    this.clip = null;
    if (current === this) current = null;
    discard(clip);
    this.#mark(false);
  }

  #offer() {
    if (!prefersStillness() && !this.clip) this.start();
  }

  #leave(cell, target) {
    if (!(target instanceof Node && cell.contains(target))) this.stop();
  }

  #mark(playing) {
    this.button.setAttribute("aria-pressed", String(playing));
    this.button.replaceChildren(icon(playing ? ICONS.pause : ICONS.play));
  }
}

function isLinkOfKeyboard(/** @type {EventTarget | null} */ target) {
  return target instanceof HTMLAnchorElement && target.matches(":focus-visible");
}
