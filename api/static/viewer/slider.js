// A photo and its depth on top of each other, and a line between them that can be dragged.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";

/** Per cent that a key moves the line. */
const STEP = 2;
const LEAP = 10;
/** Pixels from the line within which a finger takes it; elsewhere a finger swipes. */
const REACH = 36;

/**
 * Make a slider of two elements of the same size, `before` on the left. `onPoint(u, v)` gets the place under
 * the pointer, 0 to 1 each, or null once it has left. Returns `{element, moveTo}`; `moveTo` takes per cent.
 */
export function makeSlider(before, after, { onPoint = () => {}, onMove = () => {}, start = 50 } = {}) {
  const handle = el("div", {
    class: "slider-handle", role: "slider", tabindex: "0", "aria-label": t("photo.slider"),
    "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
  }, el("span", { class: "slider-grip", "aria-hidden": "true" }));
  after.classList.add("slider-after");
  const element = el("div", { class: "slider" }, before, after, handle);
  let position = start;

  const moveTo = (value) => {
    position = Math.min(100, Math.max(0, value));
    after.style.setProperty("clip-path", `inset(0 0 0 ${position}%)`);
    handle.style.setProperty("left", `${position}%`);
    handle.setAttribute("aria-valuenow", String(Math.round(position)));
    handle.setAttribute("aria-valuetext", t("photo.slider_value", { photo: Math.round(position), depth: Math.round(100 - position) }));
    onMove(position);
  };
  const placeOf = (event) => {
    const box = element.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const isInReach = (event) => {
    if (event.pointerType !== "touch") return event.button === 0;
    const line = handle.getBoundingClientRect();
    return Math.abs(event.clientX - (line.left + line.right) / 2) < REACH;
  };

  element.addEventListener("pointerdown", (event) => {
    if (!isInReach(event)) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    element.dataset.dragging = "";
    handle.focus({ preventScroll: true });
    moveTo(100 * placeOf(event)[0]);
  });
  element.addEventListener("pointermove", (event) => {
    const [u, v] = placeOf(event);
    if ("dragging" in element.dataset) moveTo(100 * u);
    onPoint(u >= 0 && u <= 1 && v >= 0 && v <= 1 ? { u, v, x: event.clientX, y: event.clientY } : null);
  });
  for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, () => delete element.dataset.dragging);
  element.addEventListener("pointerleave", () => onPoint(null));
  handle.addEventListener("keydown", (event) => {
    const target = targetOf(event, position);
    if (target === null) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(target);
  });
  moveTo(position);
  return { element, moveTo };
}

/** Where a key takes the line (WAI-ARIA, slider pattern). */
function targetOf({ key, shiftKey }, position) {
  const step = shiftKey ? LEAP : STEP;
  if (key === "ArrowRight" || key === "ArrowUp") return position + step;
  if (key === "ArrowLeft" || key === "ArrowDown") return position - step;
  if (key === "PageUp") return position + LEAP;
  if (key === "PageDown") return position - LEAP;
  if (key === "Home") return 0;
  return key === "End" ? 100 : null;
}
