// A finger that goes from side to side.

/** Pixels that a finger goes at least, and how much more to the side than up or down. */
const LEAST = 50;
const SLANT = 1.5;

/** Call `move(-1)` or `move(1)` for a swipe to the right or left over `element`, until `signal` is aborted. */
export function listenForSwipes(/** @type {HTMLElement} */ element, move, signal) {
  /** @type {{x: number, y: number} | null} */
  let start = null;
  element.addEventListener("pointerdown", (event) => {
    // What takes the finger for itself, as the line between photo and depth does, is no swipe.
    start = event.pointerType === "touch" && event.isPrimary && !event.defaultPrevented ? { x: event.clientX, y: event.clientY } : null;
  }, { signal });
  element.addEventListener("pointerup", (event) => {
    if (!start || !event.isPrimary) return;
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    start = null;
    if (Math.abs(dx) >= LEAST && Math.abs(dx) > SLANT * Math.abs(dy)) move(dx > 0 ? -1 : 1);
  }, { signal });
  element.addEventListener("pointercancel", () => { start = null; }, { signal });
}
