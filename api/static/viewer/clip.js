// A clip that the job made, as an element that plays it.

import { paths } from "../api.js";
import { el } from "../dom.js";

/** @import { Job } from "../api.js" */

/** Films are played by a video element; animated pictures move by themselves. */
const FILM = "mp4";

/** Return whether the clips of a job are films, which can be paused. */
export function isFilm(/** @type {Job} */ job) {
  return (job.options.clip?.format ?? FILM) === FILM;
}

/**
 * Make the element of a clip: one that loops without a sound. A film waits for `play()`.
 * @param {Job} job
 * @param {number} index
 * @param {Record<string, unknown>} properties
 */
export function clipElement(job, index, properties) {
  const src = paths.shown(job.id, index, "clip");
  if (!isFilm(job)) return el("img", { ...properties, src });
  const video = el("video", { ...properties, alt: null, loop: true, playsinline: true, src });
  // The attribute mutes only what a parser made.
  video.muted = true;
  return video;
}

/** Play a clip. If it is closed before it has begun, or the browser does not allow it, that is no error. */
export function play(/** @type {HTMLElement} */ clip) {
  if (clip instanceof HTMLVideoElement) clip.play().catch(() => {});
}

/** Stop a clip, and free what the browser holds for it. */
export function discard(/** @type {HTMLElement} */ clip) {
  if (clip instanceof HTMLVideoElement) {
    clip.pause();
    clip.removeAttribute("src");
    clip.load();
  }
  clip.remove();
}
