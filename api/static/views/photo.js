// One photo beside its depth, in any colours, in 3D, or as what can be made of both.

import { el, icon, nameOf, say, toggle } from "../dom.js";
import { baseName } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { MakeStage } from "../make/stage.js";
import { jobModel } from "../model/job_model.js";
import { isSettled } from "../model/states.js";
import { reasonOf, textOf } from "../ui/errors.js";
import { PhotoPanel } from "../ui/photo_panel.js";
import { listenForSwipes } from "../ui/swipe.js";
import { loadDepth } from "../viewer/depth.js";
import { loadPhoto } from "../viewer/photo.js";
import { ClipStage } from "../viewer/stage_clip.js";
import { CompareStage } from "../viewer/stage_compare.js";
import { PictureStage, pictureAmong } from "../viewer/stage_picture.js";
import { SceneStage } from "../viewer/stage_scene.js";

/** @import { Job } from "../api.js" */
/** @import { Depth } from "../viewer/depth.js" */

const STAGES = { compare: CompareStage, scene: SceneStage, make: MakeStage };

/** Show image `index` of a job in `main`; return the function that closes it. */
export function open(main, { id, index }, page) {
  const view = new PhotoView(id, Number(index), page);
  main.append(view.element);
  view.begin();
  return () => view.close();
}

class PhotoView {
  constructor(id, index, page) {
    this.id = id;
    this.index = index;
    this.page = page;
    this.model = jobModel(id);
    this.leaving = new AbortController();
    /** @type {string | null} */
    this.known = null;
    /** @type {{photo: ImageBitmap | null, depth: Depth, job: Job, index: number, name: string, outputs: Record<string, string>, aspect: number} | null} */
    this.loaded = null;
    /**
     * What a photo has whose job made no map of depth.
     * @type {{photo: null, depth: null, job: Job, index: number, name: string, outputs: Record<string, string>, aspect: number} | null}
     */
    this.bare = null;
    /** @type {CompareStage | SceneStage | MakeStage | PictureStage | ClipStage | null} */
    this.shown = null;
    this.unfollow = () => {};
    this.heading = el("h1", { class: "photo-name", tabindex: "-1" }, t("photo.untitled", { number: index + 1 }));
    this.place = el("p", { class: "hint photo-place" }, "\u00a0");
    this.previous = this.#makeStep(-1, ICONS.back, t("photo.previous"));
    this.next = this.#makeStep(1, ICONS.next, t("photo.next"));
    this.stage = el("div", { class: "stage skeleton" });
    this.note = el("div", { class: "stage-note", hidden: true });
    this.panel = new PhotoPanel({
      onMode: () => this.#showStage(), onColormap: (name) => this.shown?.colour(name), onPicture: (output) => this.#showPicture(output),
    });
    this.element = el("div", { class: "photo" }, this.#makeHead(),
      el("div", { class: "photo-body" }, el("div", { class: "stage-box" }, this.stage, this.note), this.panel.element));
  }

  begin() {
    const { model, leaving: { signal } } = this;
    document.addEventListener("keydown", (event) => this.#press(event), { signal });
    listenForSwipes(this.stage, (by) => this.#move(by), signal);
    model.addEventListener("job", () => this.#showJob(), { signal });
    model.addEventListener("images", () => model.job && this.#look(), { signal });
    model.addEventListener("error", () => this.#showProblem(), { signal });
    this.unfollow = model.follow();
    if (model.job) this.#showJob();
  }

  close() {
    this.leaving.abort();
    this.shown?.close();
    this.loaded?.photo?.close();
    this.unfollow();
  }

  // --- going from photo to photo ---

  #makeHead() {
    const back = { class: "button quiet", href: `/jobs/${this.id}`, onclick: (event) => this.#leave(event) };
    return el("header", { class: "photo-head" },
      el("a", back, icon(ICONS.back), t("photo.back")),
      el("div", { class: "photo-title" }, this.heading, this.place),
      el("div", { class: "photo-steps" }, this.previous, this.next));
  }

  #makeStep(by, drawing, label) {
    return el("button", {
      type: "button", class: "button round", title: label, "aria-label": label, disabled: true, onclick: () => this.#move(by),
    }, icon(drawing));
  }

  #move(by) {
    const target = this.index + by;
    if (target >= 0 && target < this.model.total) this.page.go(`/jobs/${this.id}/photos/${target}`, { replace: true });
  }

  /** Go back to the job, at the place where the reader left it. */
  #leave(event) {
    event.preventDefault();
    if (history.state?.inner) history.back();
    else this.page.go(`/jobs/${this.id}`);
  }

  #press(event) {
    const free = !event.defaultPrevented && !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!free || event.target.closest?.("input, select, textarea, dialog, [role=slider], [data-arrows]")) return this.#escape(event);
    if (event.key === "ArrowLeft") this.#move(-1);
    if (event.key === "ArrowRight") this.#move(1);
    this.#escape(event);
  }

  #escape(event) {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) this.#leave(event);
  }

  // --- the photo ---

  #showJob() {
    const { index, model: { total } } = this;
    this.previous.disabled = index === 0;
    this.next.disabled = index + 1 >= total;
    say(this.place, index < total ? t("photo.place", { number: index + 1, total }) : "");
    this.#look();
  }

  /** Show the photo's depth, its failure or its state, if that has changed. */
  async #look() {
    try {
      const image = await this.model.imageAt(this.index);
      // The failure of an image is known before its reason.
      const news = `${image?.state} ${image?.error?.code}`;
      if (this.leaving.signal.aborted || this.known === news) return;
      // Its outputs are fetched a moment after its state is known.
      if (image?.state === "succeeded" && Object.keys(image.outputs).length === 0) return;
      this.known = news;
      await this.#showImage(image);
    } catch (error) {
      if (!this.leaving.signal.aborted) this.#showNote(textOf(error));
    }
  }

  async #showImage(image) {
    if (!image) return this.#showNote(t("photo.none"));
    this.page.title(baseName(image.name));
    this.heading.replaceChildren(nameOf(baseName(image.name)));
    this.heading.title = image.name;
    if (image.state === "succeeded") await this.#load(image);
    else if (image.error) this.#showNote(reasonOf(image.error), ICONS.warning);
    else this.#showNote(t(isSettled(image) ? "photo.canceled" : "photo.pending"));
  }

  async #load(image) {
    const { model: { job }, index, leaving: { signal } } = this;
    if (!job) return;
    toggle(this.note, false);
    this.stage.classList.add("skeleton");
    const { depth, sidecar } = await loadDepth(job, index, signal);
    if (depth === null) return this.#showResults(job, image, sidecar);
    const photo = await loadPhoto(job, index, sidecar, signal);
    if (signal.aborted) return;
    this.loaded = { photo, depth, job, index, name: image.name, outputs: image.outputs, aspect: depth.width / depth.height };
    this.stage.classList.remove("skeleton");
    this.panel.show({ job, index, image, sidecar });
    this.#showStage();
  }

  /** Show a photo whose job made no map of depth, only what was made of it. */
  #showResults(job, image, sidecar) {
    this.stage.classList.remove("skeleton");
    this.panel.show({ job, index: this.index, image, sidecar, modes: false });
    const { original_size: { width, height } } = sidecar;
    this.bare = { photo: null, depth: null, job, index: this.index, name: image.name, outputs: image.outputs, aspect: width / height };
    const shown = ["mesh", "clip"].find((output) => output in image.outputs) ?? pictureAmong(Object.keys(image.outputs));
    if (shown) return this.#showPicture(shown);
    this.note.replaceChildren(icon(ICONS.photos), el("p", { role: "status" }, t("photo.files_only")));
    toggle(this.note, true);
  }

  #showStage() {
    const { loaded, panel } = this;
    if (!loaded) return;
    const Stage = STAGES[panel.mode];
    this.#put(() => new Stage({
      ...loaded, colormap: panel.colormap,
      onNearness: (nearness) => panel.point(nearness), onPicture: (canvas) => panel.offerPicture(canvas),
    }));
    panel.mark({ mode: panel.mode });
  }

  /** Show a picture, a clip or a model that the job made, as it is. */
  #showPicture(output) {
    const { panel } = this;
    if (output === "mesh" && this.loaded) return panel.choose("scene");
    panel.offerPicture(null);
    this.#put(() => this.#makeStage(output));
    panel.mark({ output });
  }

  #makeStage(output) {
    const { bare, index, panel, model: { job } } = this;
    const image = this.model.image(index);
    if (!job || !image) throw new Error("The photo is not known yet.");
    if (output === "mesh" && bare) return new SceneStage({ ...bare, colormap: panel.colormap, onNearness: () => {}, onPicture: () => {} });
    const onError = (error) => this.#showNote(textOf(error));
    if (output === "clip") return new ClipStage({ job, index, name: image.name, onError });
    return new PictureStage({ job, index, output, onError });
  }

  #put(/** @type {() => CompareStage | SceneStage | MakeStage | PictureStage | ClipStage} */ make) {
    this.shown?.close();
    const shown = make();
    this.shown = shown;
    this.stage.replaceChildren(shown.element);
    this.panel.showTools(shown.tools);
  }

  #showNote(text, drawing = ICONS.photos) {
    this.stage.classList.remove("skeleton");
    this.stage.replaceChildren();
    this.note.replaceChildren(icon(drawing), el("p", { role: "status" }, text));
    toggle(this.note, true);
    toggle(this.panel.element, false);
  }

  #showProblem() {
    if (this.model.error && !this.model.job) this.#showNote(textOf(this.model.error));
  }
}
