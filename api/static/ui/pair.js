// Shows the two halves of a thumbnail, in which the photo is on the left and its heatmap on the right.

import { el } from "../dom.js";

/**
 * Fill `box`, whose width is `aspect` times its height, with both halves of a thumbnail on top of each other, the heatmap
 * above. With `fresh`, the heatmap is wiped in, because it was made just now.
 */
export function showPair(box, url, { aspect, fresh = false, onError = () => {} }) {
  const photo = half("pair-photo", url, aspect, 0, () => {});
  const depth = half("pair-depth", url, aspect, 1, onError);
  if (fresh) depth.classList.add("wiped");
  box.append(photo, depth);
}

/** Show a whole picture, for a job without thumbnails. */
export function showWhole(box, url) {
  box.append(el("img", { class: "pair-whole", src: url, alt: "", loading: "lazy", decoding: "async" }));
}

function half(name, url, aspect, place, onError) {
  const image = el("img", { alt: "", decoding: "async", draggable: "false" });
  const frame = el("div", { class: `pair-half ${name}` }, image);
  image.addEventListener("load", () => {
    cover(image, aspect, place);
    frame.dataset.loaded = "";
  });
  image.addEventListener("error", onError);
  image.src = url;
  return frame;
}

/** Place the picture so that its left (0) or right (1) half covers the box, centred. */
function cover(image, aspect, place) {
  const ratio = image.naturalWidth / 2 / image.naturalHeight / aspect;
  const [width, height] = ratio >= 1 ? [ratio, 1] : [1, 1 / ratio];
  const percent = (value) => `${(100 * value).toFixed(3)}%`;
  image.style.setProperty("width", percent(2 * width));
  image.style.setProperty("height", percent(height));
  image.style.setProperty("left", percent((1 - width) / 2 - place * width));
  image.style.setProperty("top", percent((1 - height) / 2));
}
