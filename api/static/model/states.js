// The states of jobs and images, and what a user may do in each.

export const ENDS = new Set(["succeeded", "partial", "failed", "canceled", "expired"]);

/** The verbs of a job, each with the states that allow it. */
export const VERBS = {
  pause: new Set(["queued", "processing"]),
  resume: new Set(["paused"]),
  cancel: new Set(["uploading", "queued", "processing", "paused"]),
  retry: new Set(["partial", "failed"]),
};

/** States in which the counts still change. */
export const MOVING = new Set(["uploading", "queued", "processing", "finalizing", "canceling"]);

/** True while clients send a job's photos; false where workers fetch or unpack them. */
export function takesUploads({ state, links }) {
  return state === "uploading" && Boolean(links.uploads);
}

/** True once an image no longer changes by itself. */
export function isSettled(image) {
  return image.state === "succeeded" || image.state === "failed" || image.state === "canceled";
}

/** Return the tone of a state: `good`, `bad`, `busy` or `still`. */
export function toneOf(state) {
  if (state === "succeeded") return "good";
  if (state === "partial" || state === "failed") return "bad";
  return state === "paused" || ENDS.has(state) ? "still" : "busy";
}
