// A mark on a picture that a pointer, a finger or the arrow keys move.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";

/** How far a key moves the mark, as a share of each side; with Shift, farther. */
const STEP = 0.02;
const LEAP = 0.1;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Return where a key moves the mark from a place, both shares of the sides, or null for another key. */
export function moved([x, y], { key, shiftKey = false }) {
  if (!(key in KEYS)) return null;
  const step = shiftKey ? LEAP : STEP;
  const [right, down] = KEYS[key];
  return [x + right * step, y + down * step].map((share) => Math.min(1, Math.max(0, share)));
}

/**
 * The mark over `frame`, which it is put into. `onMove(place)` gets its place, from the left and from the top, 0 to 1;
 * `describe(place)` says in words what is there.
 */
export class Crosshair {
  /**
   * @param {HTMLElement} frame
   * @param {{place: number[], describe: (place: number[]) => string, onMove: (place: number[]) => void}} options
   */
  constructor(frame, { place, describe, onMove }) {
    this.describe = describe;
    this.onMove = onMove;
    this.mark = el("button", {
      type: "button", class: "crosshair", data: { arrows: "" }, title: t("make.focus_hint"),
      onkeydown: (event) => this.#press(event),
    });
    frame.append(this.mark);
    frame.addEventListener("click", (event) => this.#point(event, frame.getBoundingClientRect()));
    this.#show(place);
  }

  #point(/** @type {MouseEvent} */ event, box) {
    // Enter and Space on the mark arrive as clicks too, at no place.
    if (event.detail === 0) return;
    this.#move([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    this.mark.focus({ preventScroll: true });
  }

  #press(/** @type {KeyboardEvent} */ event) {
    const target = moved(this.place, event);
    if (!target) return;
    event.preventDefault();
    this.#move(target);
  }

  #move(place) {
    this.#show(place);
    this.onMove(place);
  }

  #show(place) {
    this.place = place;
    this.mark.style.setProperty("left", `${100 * place[0]}%`);
    this.mark.style.setProperty("top", `${100 * place[1]}%`);
    this.mark.setAttribute("aria-label", this.describe(place));
  }
}
