// The motion of a camera before a photo in 3D. The server's clips move by the same rule (worker/pipeline/scene/motion.py).

/** The motions, in the order of the choice. */
export const MOTIONS = ["orbit", "sway", "dolly", "zoom"];
/** Seconds of one loop. */
export const SECONDS = 4;
/** The nearness of what stays in its place. */
export const FOCUS = 0.3;
/** How far the nearest point moves past the farthest one at full depth, in per cent of the width: the most that clips have. */
const MOST = 5;
/** An orbit is flatter than wide, and this share of a zoom is parallax. */
const [FLATNESS, PARALLAX_OF_ZOOM] = [0.6, 0.4];

/**
 * Return by how much a picture is enlarged so that no frame shows what lies beyond its border. `frame` is its width and
 * height.
 */
export function marginless(/** @type {number} */ amount, /** @type {number[]} */ frame) {
  const reach = (amount / 100) * frame[0];
  return 1 / (1 - (Math.max(FOCUS, 1 - FOCUS) * reach) / Math.min(...frame));
}

/**
 * Where the eye is, to which point ahead it looks, and by how much the picture is enlarged.
 * @typedef {{eye: number[], target: number[], enlarged: number}} Pose
 */

/** Return how far the nearest point moves past the farthest one, in per cent of the width, for a depth of 0 to 1. */
export function amountOf(/** @type {number} */ strength) {
  return MOST * strength;
}

/**
 * Return the pose at a time of 0 to 1, which are the same. The nearest point is at distance 1, the farthest at `far`, and
 * the photo is `frame` wide and high at distance 1. `amount` is in per cent of the width.
 *
 * @param {string} motion
 * @param {number} time
 * @param {{amount: number, far: number, frame: number[]}} scene
 * @returns {Pose}
 */
export function poseAt(motion, time, { amount, far, frame }) {
  const reach = (amount / 100) * frame[0];
  const whole = marginless(amount, frame);
  // A step of 1 moves the nearest point past the farthest by so much.
  const parallax = Math.max(1 - 1 / far, 1e-3);
  const middle = 1 / (FOCUS + (1 - FOCUS) / far);
  const turn = 2 * Math.PI * time;
  if (motion === "orbit" || motion === "sway") {
    const half = reach / 2 / parallax;
    const eye = motion === "sway" ? [-half * Math.sin(turn), 0, 0] : [-half * Math.cos(turn), FLATNESS * half * Math.sin(turn), 0];
    return { eye, target: [0, 0, -middle], enlarged: whole };
  }
  const grow = (reach / (Math.hypot(...frame) / 2)) * (1 - Math.cos(turn)) / 2;
  const forward = ((motion === "zoom" ? PARALLAX_OF_ZOOM : 1) * grow) / parallax;
  // What is in focus would grow too as the eye comes nearer.
  const enlarged = whole * (1 - forward / middle) * (motion === "zoom" ? 1 + grow : 1);
  return { eye: [0, 0, -forward], target: [0, 0, -middle], enlarged };
}
