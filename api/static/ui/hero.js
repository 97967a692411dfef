// Shows what Fathom does on one photo: the photo, its depth and a line between them.

import { el } from "../dom.js";
import { t } from "../i18n/index.js";
import { depthOfHeatmap } from "../viewer/depth.js";
import { drawHeatmap } from "../viewer/heatmap.js";
import { prefersStillness } from "../viewer/motion.js";
import { Slider } from "../viewer/slider.js";

/** The duration of the first sweep of the line, in milliseconds. */
const SWEEP = 2600;

/** Make the picture; `close` stops its motion. */
export function makeHero() {
  const photo = el("img", { class: "hero-photo", src: sampleUrl("astronaut.jpg"), alt: t("home.hero_photo"), width: "512", height: "512" });
  const depth = el("canvas", { class: "hero-depth", width: "256", height: "256", role: "img", "aria-label": t("home.hero_depth") });
  const slider = new Slider(photo, depth, { start: prefersStillness() ? 50 : 100 });
  const element = el("figure", { class: "hero" }, slider.element,
    el("figcaption", {}, el("span", {}, t("home.hero_left")), el("span", {}, t("home.hero_right"))));
  const touched = new AbortController();
  for (const kind of ["pointerdown", "keydown"]) slider.element.addEventListener(kind, () => touched.abort(), { capture: true });
  depthOfHeatmap(sampleUrl("astronaut.depth.png")).then((found) => {
    drawHeatmap(depth, found, "inferno", false);
    if (!prefersStillness()) sweep(slider, touched.signal);
  });
  return { element, close: () => touched.abort() };
}

/** Move the line to the left end and back to the middle, slowing down. */
function sweep(slider, signal) {
  const began = performance.now();
  const step = (now) => {
    if (signal.aborted) return;
    const share = Math.min(1, (now - began) / SWEEP);
    const eased = 1 - (1 - share) ** 3;
    slider.moveTo(eased < 0.6 ? 100 - 160 * eased : 4 + 115 * (eased - 0.6));
    if (share < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

/** Return the address of a sample picture of the page. */
export function sampleUrl(name) {
  return new URL(`../samples/${name}`, import.meta.url).href;
}
