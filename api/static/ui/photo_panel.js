// Beside a photo: how it is shown, what the colours mean, and its files.

import { paths } from "../api.js";
import { el, icon, say, toggle } from "../dom.js";
import { percent } from "../format.js";
import { has, t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { COLORMAPS, gradientOf } from "../viewer/colormaps.js";

/** What the next photo is shown as: as the last one. */
const kept = { mode: "compare", colormap: null };

/**
 * Make the panel. `onMode(mode)` hears `compare` or `scene`, `onColormap(name)` the colours. `point(nearness)` marks a
 * nearness in the legend, `offerPicture(canvas)` offers what is shown as a file; null takes either away.
 */
export function makePhotoPanel({ onMode, onColormap }) {
  const marker = el("span", { class: "legend-marker", hidden: true });
  const colours = el("div", { class: "legend-colours" }, marker);
  const reading = el("p", { class: "legend-reading" }, "\u00a0");
  const legend = el("div", { class: "legend" }, colours,
    el("div", { class: "legend-ends" }, el("span", {}, t("photo.far")), el("span", {}, t("photo.nearest"))), reading);
  const tools = el("div", { class: "panel-tools" });
  const files = el("ul", { class: "files", role: "list" });
  const facts = el("dl", { class: "photo-facts" });
  const warning = el("p", { class: "hint weights", hidden: true });
  const modes = el("div", { class: "tabs", role: "group", "aria-label": t("photo.view") });
  const maps = el("div", { class: "swatches small", role: "radiogroup", "aria-label": t("photo.colours") });
  const element = el("aside", { class: "photo-panel", "aria-label": t("photo.panel"), hidden: true },
    modes, tools,
    el("section", {}, el("h2", {}, t("photo.colours")), maps, legend),
    el("section", {}, el("h2", {}, t("photo.files")), files),
    el("details", { class: "photo-details" }, el("summary", {}, t("photo.details")), facts),
    warning);
  let picture = null;
  let inverted = false;

  for (const [mode, drawing] of [["compare", ICONS.compare], ["scene", ICONS.cube]]) {
    modes.append(el("button", {
      type: "button", class: "tab", "aria-pressed": String(kept.mode === mode), data: { mode },
      onclick: () => {
        kept.mode = mode;
        for (const tab of modes.children) tab.setAttribute("aria-pressed", String(tab.dataset.mode === mode));
        onMode(mode);
      },
    }, icon(drawing), t(`photo.mode_${mode}`)));
  }
  for (const name of COLORMAPS) {
    maps.append(el("label", { class: "swatch" },
      el("input", { type: "radio", name: "view-colormap", value: name, onchange: () => { kept.colormap = name; paint(name); onColormap(name); } }),
      el("span", { class: "swatch-colours", "aria-hidden": "true", style: { background: gradientOf(name) } }), t(`colormap.${name}`)));
  }

  function paint(name) {
    colours.style.setProperty("background", gradientOf(name, "to right", inverted));
  }

  function showFiles(job, index, image) {
    const entries = Object.keys(image.outputs).map((output) => el("li", {},
      el("a", { class: "file", href: paths.output(job.id, index, output), download: true }, icon(ICONS.download),
        el("span", {}, t(has(`output.${output}`) ? `output.${output}` : "output.other", { name: output }), el("small", { class: "hint" }, t(has(`output.${output}_kind`) ? `output.${output}_kind` : "output.other_kind"))))));
    const view = el("li", { class: "file-view" }, el("button", { type: "button", class: "file", onclick: () => save(image.name) }, icon(ICONS.download),
      el("span", {}, t("photo.save_view"), el("small", { class: "hint" }, t("photo.save_view_hint")))));
    files.replaceChildren(...entries, view);
  }

  async function save(name) {
    if (!picture) return;
    const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/png"));
    const url = URL.createObjectURL(blob);
    const stem = name.slice(name.lastIndexOf("/") + 1).replace(/\.[^.]*$/, "");
    el("a", { href: url, download: `${stem}.depth-view.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  function showFacts({ original_size: from, output_size: to, model, weights, engine, precision, source }) {
    const size = ({ width, height }) => t("photo.size", { width, height });
    const rows = [
      ["fact.photo", size(from)], ["fact.depth", size(to)], ["fact.format", source.format.toUpperCase()],
      ["fact.network", model], ["fact.weights", weights.name], ["fact.engine", `${engine}, ${precision}`],
    ];
    facts.replaceChildren(...rows.flatMap(([key, value]) => [el("dt", {}, t(key)), el("dd", {}, el("bdi", {}, value))]));
    const known = has(`weights.${weights.name}`);
    toggle(warning, known);
    if (known) say(warning, t(`weights.${weights.name}`));
  }

  function point(nearness) {
    toggle(marker, nearness !== null);
    say(reading, nearness === null ? t("photo.relative") : t("photo.near_long", { share: percent(Math.round(100 * nearness) / 100) }));
    if (nearness !== null) marker.style.setProperty("left", `${100 * nearness}%`);
  }

  return {
    element,
    point,
    get mode() { return kept.mode; },
    get colormap() { return kept.colormap; },
    show: ({ job, index, image, sidecar, colormap }) => {
      inverted = job.options.invert;
      const choice = maps.querySelector(`input[value="${colormap}"]`);
      if (choice) choice.checked = true;
      paint(colormap);
      showFiles(job, index, image);
      showFacts(sidecar);
      point(null);
      toggle(element, true);
    },
    hide: () => toggle(element, false),
    showTools: (elements) => {
      tools.replaceChildren(...elements);
      toggle(tools, elements.length > 0);
    },
    offerPicture: (canvas) => {
      picture = canvas;
      toggle(files.querySelector(".file-view"), canvas !== null);
    },
  };
}
