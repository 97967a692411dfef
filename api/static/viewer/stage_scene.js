// The photo in 3D, and the ways to look around in it: pointer, finger, keys, and how the phone is held.

import { el, icon } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { drawHeatmap } from "./heatmap.js";
import { followDevice, mayMove, prefersStillness } from "./motion.js";
import { Scene3d } from "./scene3d.js";

/** How far a key moves the eye. */
const NUDGE = 0.18;
const KEYS = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] };

/** Make the stage of a photo in 3D; `colour(name)` shows the depth's colours on it instead of the photo's. */
export function makeSceneStage({ photo, depth, job, name, colormap, onNearness, onPicture }) {
  onNearness(null);
  onPicture(null);
  const canvas = el("canvas", {
    class: "scene", tabindex: "0", role: "img", data: { arrows: "" }, "aria-label": t("scene.label", { name }),
  });
  const element = el("div", { class: "scene-box" }, canvas, el("p", { class: "scene-hint" }, t(mayMove() ? "scene.hint_touch" : "scene.hint")));
  const heatmap = document.createElement("canvas");
  drawHeatmap(heatmap, depth, colormap, job.options.invert);
  const scene = build(canvas, photo ?? heatmap, depth);
  if (scene === null) return { element: el("p", { class: "stage-note" }, t("scene.no_webgl")), close: () => {} };
  let coloured = photo === null;
  let stopDevice = null;

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    scene.look((2 * (event.clientX - box.left)) / box.width - 1, (2 * (event.clientY - box.top)) / box.height - 1);
  });
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && scene.look(0, 0));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    scene.nudge(...KEYS[event.key]);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    scene.set({ zoom: scene.zoom - event.deltaY / 900 });
  }, { passive: false });

  const paint = () => scene.paint(coloured ? heatmap : photo);
  const tools = [
    range("scene-strength", t("scene.strength"), scene.strength, (value) => scene.set({ strength: value })),
    range("scene-zoom", t("scene.zoom"), scene.zoom, (value) => scene.set({ zoom: value })),
  ];
  if (photo) {
    tools.push(el("label", { class: "check" },
      el("input", { type: "checkbox", id: "scene-colours", onchange: (event) => { coloured = event.target.checked; paint(); } }), t("scene.colours")));
  }
  if (mayMove()) tools.push(deviceButton(async () => { stopDevice = await followDevice((x, y) => scene.look(x, y)); }));
  return {
    element,
    tools,
    colour: (map) => {
      drawHeatmap(heatmap, depth, map, job.options.invert);
      if (coloured) paint();
    },
    close: () => {
      stopDevice?.();
      scene.close();
    },
  };
}

function build(canvas, picture, depth) {
  try {
    return new Scene3d(canvas, picture, depth, { sways: !prefersStillness() });
  } catch (error) {
    console.warn(error);
    return null;
  }
}

function deviceButton(follow) {
  return el("button", { type: "button", class: "button", onclick: follow }, icon(ICONS.device), t("scene.device"));
}

function range(id, label, value, onInput) {
  return el("label", { class: "field", for: id }, label,
    el("input", { id, type: "range", min: "0", max: "1", step: "0.01", value, oninput: (event) => onInput(Number(event.target.value)) }));
}
