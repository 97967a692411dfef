// One photo of a job in the grid, in every state.

import { paths } from "../api.js";
import { el, icon, nameOf, say, toggle } from "../dom.js";
import { baseName } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { preview } from "../uploads/previews.js";
import { pictureAmong } from "../viewer/stage_picture.js";
import { CellClip } from "./cell_clip.js";
import { reasonOf } from "./errors.js";
import { showPair, showWhole } from "./pair.js";

/** The aspect ratio of the pictures. */
export const ASPECT = 4 / 3;

/**
 * The cell of a photo. `find()` returns the image, or undefined while it is unknown. `session` is the job's upload session
 * on this page, or null.
 */
export class PhotoCell {
  constructor({ model, find, session }) {
    this.model = model;
    this.find = find;
    this.session = session;
    this.index = null;
    this.shown = null;
    /** @type {CellClip | null} */
    this.clip = null;
    this.closing = new AbortController();
    this.box = el("div", { class: "thumb" }, icon(ICONS.photos));
    this.badge = el("span", { class: "thumb-badge", hidden: true });
    this.sent = el("span", { class: "thumb-sent", hidden: true });
    this.caption = el("span", { class: "thumb-name" }, "\u00a0");
    this.state = el("span", { class: "visually-hidden" });
    this.link = el("a", { class: "cell-link" }, this.box, this.badge, this.sent, this.caption, this.state);
    this.element = el("li", { class: "cell" }, this.link);
    this.update();
  }

  update() {
    const image = this.find();
    if (!image) return;
    if (this.index === null) this.#name(image);
    this.#showSent();
    // The failure of an image is known before its reason.
    const news = `${image.state} ${image.error?.code}`;
    if (this.shown === news) return;
    const fresh = this.shown !== null;
    this.shown = news;
    this.#showState(image, fresh);
  }

  close() {
    this.closing.abort();
  }

  #name({ index, name }) {
    this.index = index;
    this.link.href = `/jobs/${this.model.id}/photos/${index}`;
    this.link.title = name;
    this.caption.replaceChildren(nameOf(baseName(name)));
    this.#showPreview();
  }

  #showState(image, fresh) {
    const { state } = image;
    this.element.dataset.state = state;
    say(this.state, t(`image.${state}`));
    toggle(this.badge, state === "failed");
    if (state === "failed") this.badge.replaceChildren(icon(ICONS.warning), explanation(image));
    if (state === "succeeded") this.#showResult(fresh);
    if (state === "succeeded" && this.model.has("clip")) this.#offerClip(image);
  }

  #offerClip({ index, name }) {
    const { element: cell, box, model: { job }, closing: { signal } } = this;
    this.clip ??= new CellClip({ cell, box, job, index, name, signal });
  }

  async #showPreview() {
    const file = this.session?.files.get(this.index);
    const picture = file && (await preview(file, this.closing.signal));
    // Its depth may have come meanwhile.
    if (!picture || this.closing.signal.aborted || this.box.querySelector(".pair-half")) return;
    const canvas = el("canvas", { class: "thumb-preview", width: picture.width, height: picture.height });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    this.box.replaceChildren(canvas);
  }

  #showSent() {
    const { session, model, index } = this;
    const sending = session !== null && model.job?.state === "uploading" && session.files.has(index);
    toggle(this.sent, sending);
    if (sending) this.sent.style.setProperty("--share", session.shareOf(index));
  }

  #showResult(fresh) {
    const { model, index, box } = this;
    if (model.has("thumbnail")) return showPair(box, paths.shown(model.id, index, "thumbnail"), { aspect: ASPECT, fresh });
    const picture = model.has("heatmap") ? "heatmap" : pictureAmong(model.results);
    if (picture) showWhole(box, paths.shown(model.id, index, picture));
  }
}

function explanation({ error }) {
  return el("span", { class: "thumb-reason" }, error ? reasonOf(error) : t("image.failed"));
}
