// States of jobs and images, and what may be done in each.

export const ENDS = new Set(["succeeded", "partial", "failed", "canceled", "expired"]);

/** What a job's owner may do, and the states that allow it. */
export const VERBS = {
  pause: new Set(["queued", "processing"]),
  resume: new Set(["paused"]),
  cancel: new Set(["uploading", "queued", "processing", "paused"]),
  retry: new Set(["partial", "failed"]),
};

/** States in which numbers still change. */
export const MOVING = new Set(["uploading", "queued", "processing", "finalizing", "canceling"]);

/** True while clients send a job's photos; false where workers fetch or unpack them. */
export function takesUploads({ state, links }) {
  return state === "uploading" && Boolean(links.uploads);
}

/** True once nothing about an image changes by itself. */
export function isSettled(image) {
  return image.state === "succeeded" || image.state === "failed" || image.state === "canceled";
}

/** Colours a state: `good`, `bad`, `busy` or `still`. */
export function toneOf(state) {
  if (state === "succeeded") return "good";
  if (state === "partial" || state === "failed") return "bad";
  return state === "paused" || ENDS.has(state) ? "still" : "busy";
}
