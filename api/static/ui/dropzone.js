// The area to drop photos on, and the buttons to pick them.

import { el, icon, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { fromDrop, fromInput } from "../uploads/collect.js";

/**
 * Make an area to drop photos and folders on; a drop anywhere on the page counts. `onHarvest(harvest)` gets what was
 * found. Returns `{element, say, busy, close}`; `say` writes a line below the buttons.
 */
export function makeDropzone({ title, hint, zips = true, onHarvest }) {
  const status = el("p", { class: "dropzone-status", role: "status" });
  const meter = el("progress", { class: "meter", max: "1", hidden: true, "aria-label": t("home.sending") });
  const kinds = zips ? "image/*,.heic,.heif,.avif,.zip" : "image/*,.heic,.heif,.avif";
  const element = el("section", { class: "dropzone", "aria-label": title },
    icon(ICONS.photos),
    el("h2", {}, title),
    el("p", { class: "hint" }, hint),
    el("div", { class: "choices" },
      picker("folder", { webkitdirectory: true }, t("home.pick_folder"), ICONS.folder, true),
      picker("files", { multiple: true, accept: kinds }, t(zips ? "home.pick_files" : "home.pick_photos"), ICONS.photos, false)),
    meter, status);

  function picker(id, attributes, label, drawing, primary) {
    const input = el("input", {
      id, type: "file", class: "visually-hidden", ...attributes,
      onchange: (event) => onHarvest(fromInput(event.target)),
    });
    return el("label", { class: primary ? "button primary" : "button" }, input, icon(drawing), label);
  }

  const forget = listenForDrops(element, async (transfer) => {
    onHarvest(await fromDrop(transfer, (count) => say(status, t("home.looking", { count }))));
  });
  return {
    element,
    close: forget,
    say: (text) => say(status, text),
    /** Show the share sent, 0 to 1; null hides the meter. */
    busy: (share) => {
      toggle(meter, share !== null);
      if (share !== null) meter.value = share;
      element.toggleAttribute("data-busy", share !== null);
    },
  };
}

/** Listen for drops anywhere on the page; return the function that stops it. */
function listenForDrops(element, onDrop) {
  const listening = new AbortController();
  const listen = (kind, listener) => window.addEventListener(kind, listener, { signal: listening.signal });
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  listen("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    element.dataset.over = "";
  });
  listen("dragleave", (event) => {
    // With a related target, the pointer only moved to another element of the page.
    if (event.relatedTarget === null) delete element.dataset.over;
  });
  listen("drop", (event) => {
    delete element.dataset.over;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    onDrop(event.dataTransfer);
  });
  return () => listening.abort();
}
