// Draws what the server would make of a photo, in WebGL, from the photo and the depth that are already here.

import { buildProgram } from "../viewer/shaders.js";
import { marginOf, reachOf, stepsFor } from "./disparity.js";
import { ANAGLYPH, NORMALS, REFOCUS, VERTEX, WIGGLE } from "./shaders.js";

/** The longer side of a preview: enough for a screen. */
const SIDE = 1280;
/** The field of view along the longer side, as in fathom/options/groups.py: 60 degrees. */
const FRAME = 2 * Math.tan(Math.PI / 6);
/** The radius of the disc over which normals are fitted, as a share of the longer side. */
const FITTED = 0.018;

/** @import { Depth } from "../viewer/depth.js" */
/** @import { Settings } from "./orders.js" */
/** @typedef {Settings & {eye: "left" | "right", focalNearness: number}} Shown */

const PROGRAMS = { anaglyph: ANAGLYPH, wiggle: WIGGLE, normals: NORMALS, refocus: REFOCUS };

/**
 * Draws previews into a canvas, which has the photo's proportions. `draw` does so at the next frame. Throws an Error if
 * there is no WebGL 2.
 */
export class Preview {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {ImageBitmap | HTMLCanvasElement} photo
   * @param {Depth} depth
   */
  constructor(canvas, photo, depth) {
    const scale = Math.min(1, SIDE / Math.max(photo.width, photo.height));
    Object.assign(canvas, { width: Math.round(photo.width * scale), height: Math.round(photo.height * scale) });
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "low-power" });
    if (!gl) throw new Error("There is no WebGL 2.");
    this.canvas = canvas;
    this.gl = gl;
    /** @type {Map<string, WebGLProgram>} */
    this.programs = new Map();
    /** @type {number | null} */
    this.frame = null;
    gl.bindVertexArray(gl.createVertexArray());
    this.#load(0, gl.LINEAR, () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, photo));
    // Without the extension, numbers of this precision cannot be interpolated.
    const filter = gl.getExtension("OES_texture_float_linear") ? gl.LINEAR : gl.NEAREST;
    const { width, height, values } = depth;
    this.#load(1, filter, () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, width, height, 0, gl.RED, gl.FLOAT, values));
  }

  /** Draw a kind of picture at the next frame. */
  draw(/** @type {string} */ kind, /** @type {Shown} */ shown) {
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#draw(kind, shown));
  }

  /** Free everything the graphics card holds for it. */
  close() {
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #load(unit, filter, upload) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, filter], [gl.TEXTURE_MAG_FILTER, filter],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
    upload();
  }

  #draw(kind, shown) {
    this.frame = null;
    const { gl, canvas: { width, height } } = this;
    if (gl.isContextLost()) return;
    const program = this.#programOf(kind);
    gl.viewport(0, 0, width, height);
    gl.useProgram(program);
    const place = (name) => gl.getUniformLocation(program, name);
    gl.uniform1i(place("photo"), 0);
    gl.uniform1i(place("depth"), 1);
    gl.uniform1i(place("steps"), stepsFor(shown, width));
    const numbers = numbersOf(kind, shown, Math.max(width, height));
    for (const [name, value] of Object.entries(numbers)) gl.uniform1f(place(name), value);
    gl.uniform2f(place("pixel"), 1 / width, 1 / height);
    const longer = Math.max(width, height);
    gl.uniform2f(place("frame"), (FRAME * width) / longer, (FRAME * height) / longer);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #programOf(kind) {
    const program = this.programs.get(kind) ?? buildProgram(this.gl, VERTEX, PROGRAMS[kind]);
    this.programs.set(kind, program);
    return program;
  }
}

/** Return the numbers that the program of a kind takes; `longer` is the preview's longer side in pixels. */
function numbersOf(kind, /** @type {Shown} */ shown, longer) {
  if (kind === "normals") return { ratio: shown.ratio, reach: Math.max(1.5, FITTED * longer) };
  if (kind === "refocus") return { focus: shown.focalNearness, reach: (shown.aperture / 100) * longer };
  return { reach: reachOf(shown.eye, shown), convergence: shown.convergence, margin: marginOf(shown) };
}
