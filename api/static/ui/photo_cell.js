// One photo of a job in the grid: waiting, being sent, at work, turned into depth, or failed.

import { paths } from "../api.js";
import { el, icon, nameOf, say, toggle } from "../dom.js";
import { baseName } from "../format.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { preview } from "../uploads/previews.js";
import { reasonOf } from "./errors.js";
import { showPair, showWhole } from "./pair.js";

/** Width to height of the pictures. */
export const ASPECT = 4 / 3;

/**
 * The cell of a photo. `find()` returns the image, or undefined while it is not known; `upload` is
 * what sends the job's photos from this page, or null.
 */
export class PhotoCell {
  constructor({ model, find, upload }) {
    this.model = model;
    this.find = find;
    this.upload = upload;
    this.index = null;
    this.shown = null;
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
    // An image is known to have failed before it is known why.
    const news = `${image.state} ${image.error?.code}`;
    if (this.shown === news) return;
    const live = this.shown !== null;
    this.shown = news;
    this.#showState(image, live);
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

  #showState(image, live) {
    const { state } = image;
    this.element.dataset.state = state;
    say(this.state, t(`image.${state}`));
    toggle(this.badge, state === "failed");
    if (state === "failed") this.badge.replaceChildren(icon(ICONS.warning), explanation(image));
    if (state === "succeeded") this.#showResult(live);
  }

  async #showPreview() {
    const file = this.upload?.files.get(this.index);
    const picture = file && (await preview(file, this.closing.signal));
    // Meanwhile it may have been turned into depth.
    if (!picture || this.closing.signal.aborted || this.box.querySelector(".pair-half")) return;
    const canvas = el("canvas", { class: "thumb-preview", width: picture.width, height: picture.height });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    this.box.replaceChildren(canvas);
  }

  #showSent() {
    const { upload, model, index } = this;
    const sending = upload !== null && model.job?.state === "uploading" && upload.files.has(index);
    toggle(this.sent, sending);
    if (sending) this.sent.style.setProperty("--share", upload.shareOf(index));
  }

  #showResult(live) {
    const { model, index, box } = this;
    if (model.has("thumbnail")) showPair(box, paths.shown(model.id, index, "thumbnail"), { aspect: ASPECT, live });
    else if (model.has("heatmap")) showWhole(box, paths.shown(model.id, index, "heatmap"));
  }
}

function explanation({ error }) {
  return el("span", { class: "thumb-reason" }, error ? reasonOf(error) : t("image.failed"));
}
