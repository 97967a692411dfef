// One photo: it and its depth, in any colours, or in 3D.

import { el, icon, nameOf, say, toggle } from "../dom.js";
import { baseName } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { jobModel } from "../model/job_model.js";
import { isSettled } from "../model/states.js";
import { textOf, reasonOf } from "../ui/errors.js";
import { makePhotoPanel } from "../ui/photo_panel.js";
import { listenForSwipes } from "../ui/swipe.js";
import { loadDepth } from "../viewer/depth.js";
import { loadPhoto } from "../viewer/photo.js";
import { makeCompareStage } from "../viewer/stage_compare.js";
import { makeSceneStage } from "../viewer/stage_scene.js";

/** Show image `index` of a job in `main`; returns the function that ends it. */
export function open(main, { id, index: text }, { go, title }) {
  const index = Number(text);
  const model = jobModel(id);
  const leaving = new AbortController();
  const heading = el("h1", { class: "photo-name", tabindex: "-1" }, t("photo.untitled", { number: index + 1 }));
  const place = el("p", { class: "hint photo-place" }, "\u00a0");
  const previous = step(-1, ICONS.back, t("photo.previous"));
  const next = step(1, ICONS.next, t("photo.next"));
  const stage = el("div", { class: "stage skeleton" });
  const note = el("div", { class: "stage-note", hidden: true });
  const panel = makePhotoPanel({ onMode: showStage, onColormap: (name) => { colormap = name; shown?.colour?.(name); } });
  main.append(el("div", { class: "photo" },
    el("header", { class: "photo-head" },
      el("a", { class: "button quiet", href: `/jobs/${id}`, onclick: leave }, icon(ICONS.back), t("photo.back")),
      el("div", { class: "photo-title" }, heading, place),
      el("div", { class: "photo-steps" }, previous, next)),
    el("div", { class: "photo-body" }, el("div", { class: "stage-box" }, stage, note), panel.element)));
  let colormap = null;
  let shown = null;
  let loaded = null;
  let image = null;
  let known = null;

  function step(by, drawing, label) {
    return el("button", { type: "button", class: "button round", title: label, "aria-label": label, disabled: true, onclick: () => move(by) }, icon(drawing));
  }

  function move(by) {
    const target = index + by;
    if (target >= 0 && target < model.total) go(`/jobs/${id}/photos/${target}`, { replace: true });
  }

  /** Go back to where the job's photos were left. */
  function leave(event) {
    event?.preventDefault();
    if (history.state?.inner) history.back();
    else go(`/jobs/${id}`);
  }

  function showJob() {
    previous.disabled = index === 0;
    next.disabled = index + 1 >= model.total;
    say(place, index < model.total ? t("photo.place", { number: index + 1, total: model.total }) : "");
    look();
  }

  /** Show the photo as soon as its fate is known. */
  async function look() {
    try {
      const found = await model.imageAt(index);
      // An image is known to have failed before it is known why.
      const news = `${found?.state} ${found?.error?.code}`;
      if (leaving.signal.aborted || known === news) return;
      known = news;
      if (!found) return showNote(t("photo.none"));
      image = found;
      title(baseName(image.name));
      heading.replaceChildren(nameOf(baseName(image.name)));
      heading.title = image.name;
      if (image.state === "succeeded") await load();
      else showNote(image.error ? reasonOf(image.error) : t(isSettled(image) ? "photo.canceled" : "photo.pending"), image.error);
    } catch (error) {
      if (!leaving.signal.aborted) showNote(textOf(error));
    }
  }

  async function load() {
    toggle(note, false);
    stage.classList.add("skeleton");
    const { job } = model;
    const { depth, sidecar } = await loadDepth(job, index, leaving.signal);
    const photo = await loadPhoto(job, index, sidecar, leaving.signal);
    if (leaving.signal.aborted) return;
    loaded = { photo, depth, sidecar, job, name: image.name };
    colormap ??= panel.colormap ?? job.options.colormap;
    stage.classList.remove("skeleton");
    panel.show({ job, index, image, sidecar, colormap });
    showStage(panel.mode);
  }

  function showStage(mode) {
    if (!loaded) return;
    shown?.close();
    const make = mode === "scene" ? makeSceneStage : makeCompareStage;
    shown = make({ ...loaded, colormap, onNearness: panel.point, onPicture: panel.offerPicture });
    stage.replaceChildren(shown.element);
    panel.showTools(shown.tools ?? []);
  }

  function showNote(text, failed = false) {
    stage.classList.remove("skeleton");
    stage.replaceChildren();
    note.replaceChildren(icon(failed ? ICONS.warning : ICONS.photos), el("p", { role: "status" }, text));
    toggle(note, true);
    panel.hide();
  }

  function pressed(event) {
    const free = !event.defaultPrevented && !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!free || event.target.closest?.("input, select, textarea, dialog, [role=slider], [data-arrows]")) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
    if (event.key === "Escape") leave();
  }

  const { signal } = leaving;
  document.addEventListener("keydown", pressed, { signal });
  listenForSwipes(stage, move, signal);
  model.addEventListener("job", showJob, { signal });
  model.addEventListener("images", () => model.job && look(), { signal });
  model.addEventListener("error", () => {
    if (model.error && !model.job) showNote(textOf(model.error));
  }, { signal });
  const unwatch = model.watch();
  if (model.job) showJob();
  return () => {
    leaving.abort();
    shown?.close();
    loaded?.photo?.close();
    unwatch();
  };
}
