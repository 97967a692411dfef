// Turns the way a phone is held into a place to look from.

/** Degrees of turning that move the eye to its farthest place. */
const RANGE = 22;

export function mayMove() {
  return "DeviceOrientationEvent" in window && matchMedia("(pointer: coarse)").matches;
}

export function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/**
 * Call `look(x, y)`, -1 to 1 each, as the phone turns from how it is held now. Return the function that stops this, or
 * null if the user did not allow it.
 */
export async function followDevice(/** @type {(x: number, y: number) => void} */ look) {
  // iOS asks the user, and only after a tap.
  const { requestPermission } = /** @type {{requestPermission?: () => Promise<string>}} */ (DeviceOrientationEvent);
  if (requestPermission && (await requestPermission.call(DeviceOrientationEvent)) !== "granted") return null;
  /** @type {{beta: number, gamma: number} | null} */
  let rest = null;
  const turn = (/** @type {DeviceOrientationEvent} */ { beta, gamma }) => {
    if (beta === null || gamma === null) return;
    rest ??= { beta, gamma };
    look((gamma - rest.gamma) / RANGE, (beta - rest.beta) / RANGE);
  };
  window.addEventListener("deviceorientation", turn);
  return () => window.removeEventListener("deviceorientation", turn);
}
