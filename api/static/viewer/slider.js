// A photo and its depth on top of each other, with a line between them to drag.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";

/** How far a key moves the line, in per cent. */
const STEP = 2;
const LEAP = 10;
/** Pixels around the line in which a finger drags it; elsewhere a finger swipes. */
const REACH = 36;

/** @typedef {{u: number, v: number, x: number, y: number}} Place */

/**
 * A slider over two elements of the same size, `before` on the left. `onPoint({u, v, x, y})` gets the place under the
 * pointer, as shares and in pixels of the window, or null once it has left. `onMove` gets the line's place in per cent.
 */
export class Slider {
  /**
   * @param {HTMLElement} before
   * @param {HTMLElement} after
   * @param {{onPoint?: (at: Place | null) => void, onMove?: (place: number) => void, start?: number}} options
   */
  constructor(before, after, { onPoint = () => {}, onMove = () => {}, start = 50 } = {}) {
    this.after = after;
    this.onPoint = onPoint;
    this.onMove = onMove;
    this.handle = el("div", {
      class: "slider-handle", role: "slider", tabindex: "0", "aria-label": t("photo.slider"),
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
      onkeydown: (event) => this.#press(event),
    }, el("span", { class: "slider-grip", "aria-hidden": "true" }));
    after.classList.add("slider-after");
    this.element = el("div", { class: "slider" }, before, after, this.handle);
    this.#listen();
    this.moveTo(start);
  }

  /** Move the line: 0 shows only the depth, 100 only the photo. */
  moveTo(place) {
    this.place = Math.min(100, Math.max(0, place));
    const photo = Math.round(this.place);
    this.after.style.setProperty("clip-path", `inset(0 0 0 ${this.place}%)`);
    this.handle.style.setProperty("left", `${this.place}%`);
    this.handle.setAttribute("aria-valuenow", String(photo));
    this.handle.setAttribute("aria-valuetext", t("photo.slider_value", { photo, depth: 100 - photo }));
    this.onMove(this.place);
  }

  #listen() {
    const { element } = this;
    element.addEventListener("pointerdown", (event) => this.#take(event));
    element.addEventListener("pointermove", (event) => this.#follow(event));
    for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, () => delete element.dataset.dragging);
    element.addEventListener("pointerleave", () => this.onPoint(null));
  }

  #take(event) {
    if (!this.#isInReach(event)) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    this.element.dataset.dragging = "";
    // Keyboard users need the focus ring; pointer users see the line.
    this.handle.dataset.pointed = "";
    this.handle.focus({ preventScroll: true });
    this.moveTo(100 * this.#placeOf(event).u);
  }

  #follow(event) {
    const at = this.#placeOf(event);
    if ("dragging" in this.element.dataset) this.moveTo(100 * at.u);
    const within = at.u >= 0 && at.u <= 1 && at.v >= 0 && at.v <= 1;
    this.onPoint(within ? at : null);
  }

  #placeOf({ clientX: x, clientY: y }) {
    const box = this.element.getBoundingClientRect();
    return { u: (x - box.left) / box.width, v: (y - box.top) / box.height, x, y };
  }

  #isInReach(event) {
    if (event.pointerType !== "touch") return event.button === 0;
    const line = this.handle.getBoundingClientRect();
    return Math.abs(event.clientX - (line.left + line.right) / 2) < REACH;
  }

  #press(event) {
    delete this.handle.dataset.pointed;
    const target = targetOf(event, this.place);
    if (target === null) return;
    event.preventDefault();
    this.moveTo(target);
  }
}

/** Return where a key moves the line (WAI-ARIA, slider pattern). */
function targetOf({ key, shiftKey }, place) {
  const step = shiftKey ? LEAP : STEP;
  if (key === "ArrowRight" || key === "ArrowUp") return place + step;
  if (key === "ArrowLeft" || key === "ArrowDown") return place - step;
  if (key === "PageUp") return place + LEAP;
  if (key === "PageDown") return place - LEAP;
  if (key === "Home") return 0;
  return key === "End" ? 100 : null;
}
