// Swipes of a finger to the left and right.

/** The least length of a swipe in pixels, and the least ratio of sideways to upright movement. */
const LEAST = 50;
const SLANT = 1.5;

/** Call `move(-1)` or `move(1)` for a swipe to the right or left over `element`, until `signal` is aborted. */
export function listenForSwipes(/** @type {HTMLElement} */ element, move, signal) {
  /** @type {{x: number, y: number} | null} */
  let start = null;
  element.addEventListener("pointerdown", (event) => {
    // A finger that drags something, such as the line between photo and depth, does not swipe.
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
