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
 * Make the cell of a photo. `find()` returns the image, or undefined while it is not known; `session` is
 * what sends the job's photos from this page, or null.
 */
export function makePhotoCell({ model, find, session, onOpen }) {
  const box = el("div", { class: "thumb" }, icon(ICONS.photos));
  const badge = el("span", { class: "thumb-badge", hidden: true });
  const sent = el("span", { class: "thumb-sent", hidden: true });
  const caption = el("span", { class: "thumb-name" }, "\u00a0");
  const state = el("span", { class: "visually-hidden" });
  const link = el("a", { class: "cell-link", onclick: onOpen }, box, badge, sent, caption, state);
  const element = el("li", { class: "cell" }, link);
  const closing = new AbortController();
  let shown = null;
  let index = null;

  const update = () => {
    const image = find();
    if (!image) return;
    if (index === null) name(image);
    showSent();
    // An image is known to have failed before it is known why.
    const news = `${image.state} ${image.error?.code}`;
    if (shown === news) return;
    const live = shown !== null;
    shown = news;
    element.dataset.state = image.state;
    say(state, t(`image.${image.state}`));
    toggle(badge, image.state === "failed");
    if (image.state === "failed") badge.replaceChildren(icon(ICONS.warning), explanation(image));
    if (image.state === "succeeded") showResult(live);
  };

  const name = (image) => {
    index = image.index;
    link.href = `/jobs/${model.id}/photos/${index}`;
    link.title = image.name;
    caption.replaceChildren(nameOf(baseName(image.name)));
    showPreview();
  };

  const showPreview = async () => {
    const file = session?.files.get(index);
    const picture = file && (await preview(file, closing.signal));
    if (!picture || closing.signal.aborted || box.querySelector(".pair-half")) return;
    const canvas = el("canvas", { class: "thumb-preview", width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    box.replaceChildren(canvas);
  };

  const showSent = () => {
    const sending = session !== null && model.job?.state === "uploading" && session.files.has(index);
    toggle(sent, sending);
    if (sending) sent.style.setProperty("--share", session.shareOf(index));
  };

  const showResult = (live) => {
    if (model.has("thumbnail")) showPair(box, paths.shown(model.id, index, "thumbnail"), { aspect: ASPECT, live });
    else if (model.has("heatmap")) showWhole(box, paths.shown(model.id, index, "heatmap"));
  };

  update();
  return { element, update, close: () => closing.abort() };
}

function explanation({ error }) {
  return el("span", { class: "thumb-reason" }, error ? reasonOf(error) : t("image.failed"));
}
