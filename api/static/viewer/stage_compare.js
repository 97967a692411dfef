// The photo beside its depth, a line between them, and the nearness under the pointer.

import { el } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n/index.js";
import { drawHeatmap } from "./heatmap.js";
import { makeSlider } from "./slider.js";

/** Where the line was last; the next photo begins there. */
let position = 50;

/**
 * Make the stage of a photo and its depth. `onNearness(share)` gets the nearness under the pointer, 0 to 1, or null.
 * `colour(name)` changes the colours.
 */
export function makeCompareStage({ photo, depth, job, name, colormap, onNearness, onPicture }) {
  const heatmap = el("canvas", { class: "stage-layer stage-depth", role: "img", "aria-label": t("photo.depth_of", { name }) });
  const before = photo ? pictureOf(photo, name) : el("div", { class: "stage-layer stage-blank" }, el("p", {}, t("photo.not_displayable")));
  const chip = el("div", { class: "nearness", hidden: true, "aria-hidden": "true" });
  const point = (at) => {
    const nearness = at && depth.at(at.u, at.v);
    chip.hidden = at === null;
    onNearness(nearness);
    if (at === null) return;
    chip.textContent = t("photo.near", { share: percent(Math.round(100 * nearness) / 100) });
    const box = slider.element.getBoundingClientRect();
    chip.style.setProperty("left", `${at.x - box.left}px`);
    chip.style.setProperty("top", `${at.y - box.top}px`);
    chip.toggleAttribute("data-left", at.u > 0.75);
  };
  const slider = makeSlider(before, heatmap, { start: position, onPoint: point, onMove: (value) => { position = value; } });
  slider.element.style.setProperty("--ratio", String(depth.width / depth.height));
  slider.element.append(chip);
  const colour = (map) => {
    drawHeatmap(heatmap, depth, map, job.options.invert);
    onPicture(heatmap);
  };
  colour(colormap);
  return { element: slider.element, colour, close: () => onNearness(null) };
}

function pictureOf(photo, name) {
  const canvas = el("canvas", { class: "stage-layer", width: photo.width, height: photo.height, role: "img", "aria-label": t("photo.photo_of", { name }) });
  canvas.getContext("2d").drawImage(photo, 0, 0);
  return canvas;
}
