// Draws depth in colours.

import { pixelsOf } from "./colormaps.js";

/**
 * Draw depth into a canvas, which takes its size. The colours equal those of the workers.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./depth.js").Depth} depth
 * @param {string} colormap
 * @param {boolean} inverted
 */
export function drawHeatmap(canvas, depth, colormap, inverted) {
  const { width, height, values } = depth;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("There is no canvas to draw depth in.");
  const picture = context.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const colours = pixelsOf(colormap, inverted);
  // The workers round to the nearest byte too.
  for (let at = 0; at < pixels.length; at += 1) pixels[at] = colours[Math.round(values[at] * 255)];
  context.putImageData(picture, 0, 0);
}
