// A photo in space, in WebGL: sheets of points, each as far along its line of sight as its pixel is.
// From where the photo was taken, it looks like the photo; a step aside shows the space in it.

import { SECONDS, amountOf, poseAt } from "../scene/camera_motion.js";
import { frameOf } from "../scene/relief.js";
import { multiply, perspective, lookFrom } from "./matrices.js";
import { FRAGMENT, VERTEX, buildProgram } from "./shaders.js";

/** The distance of the nearest point. */
const NEAREST = 1;
/** The farthest step of the eye to a side, and how near it may come. */
const STEP_ASIDE = 0.24;
const NEAREST_EYE = 0.55;
/**
 * The colour behind the photo, which is that of the stage around it.
 * @type {[number, number, number]}
 */
const GROUND = [0.09, 0.078, 0.122];
/** Milliseconds in which the eye covers two thirds of its way. */
const EASE = 180;

/** Milliseconds without input after which the eye begins to wander. */
const PATIENCE = 2000;

/** WebGL is missing, or its context was lost. */
class NoWebGl extends Error {}

/** @import { Sheet } from "../scene/relief.js" */
/** @typedef {{array: WebGLVertexArrayObject, buffers: WebGLBuffer[], texture: WebGLTexture, count: number}} Loaded */

/**
 * Shows a photo in space in a canvas. `look(x, y)` moves the eye, -1 to 1 each. `strength`, 0 to 1, is the depth, and `zoom`
 * the nearness. `aspect` is the photo's. It draws only while something moves. Throws NoWebGl.
 */
export class Scene3d {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} aspect
   * @param {{sways?: boolean}} options
   */
  constructor(canvas, aspect, { sways = true } = {}) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "low-power" });
    if (!gl) throw new NoWebGl("There is no WebGL 2.");
    this.gl = gl;
    this.aspect = aspect;
    this.sways = sways;
    this.strength = 0.6;
    this.zoom = 0;
    this.spread = 0;
    /** @type {{name: string, since: number} | null} the motion that it plays */
    this.motion = null;
    this.goal = [0, 0];
    this.eye = [0, 0];
    this.touchedAt = performance.now() - PATIENCE;
    this.drawnAt = performance.now();
    /** @type {number | null} */
    this.frame = null;
    this.closed = false;
    /** @type {Loaded[]} */
    this.loaded = [];
    this.program = buildProgram(gl, VERTEX, FRAGMENT);
    gl.enable(gl.DEPTH_TEST);
    this.resizing = new ResizeObserver(() => this.wake());
    this.resizing.observe(canvas);
  }

  /** Move the eye towards a place, -1 to 1 each. */
  look(x, y) {
    this.goal = [Math.max(-1, Math.min(1, x)), Math.max(-1, Math.min(1, y))];
    this.touchedAt = performance.now();
    this.wake();
  }

  nudge(x, y) {
    this.look(this.goal[0] + x, this.goal[1] + y);
  }

  /** Play a motion again and again; null lets the eye be moved again. */
  play(/** @type {string | null} */ name) {
    this.motion = name === null ? null : { name, since: performance.now() };
    this.wake();
  }

  set({ strength = this.strength, zoom = this.zoom }) {
    this.strength = strength;
    this.zoom = Math.max(0, Math.min(1, zoom));
    this.wake();
  }

  /** Tell which depth decides at the edges of sheets. */
  measure(/** @type {import("./depth.js").Depth} */ { width, height, values }) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE1);
    const filter = gl.getExtension("OES_texture_float_linear") ? gl.LINEAR : gl.NEAREST;
    makeTexture(gl, filter, filter);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, width, height, 0, gl.RED, gl.FLOAT, values);
    gl.activeTexture(gl.TEXTURE0);
  }

  /** Show these sheets. At full strength, the farthest point is `spread` times the nearest distance farther away. */
  show(/** @type {Sheet[]} */ sheets, /** @type {number} */ spread) {
    const { gl } = this;
    for (const { array, buffers, texture } of this.loaded) {
      gl.deleteVertexArray(array);
      for (const buffer of buffers) gl.deleteBuffer(buffer);
      gl.deleteTexture(texture);
    }
    this.loaded = sheets.map((sheet) => load(gl, sheet));
    this.spread = spread;
    this.wake();
  }

  wake() {
    if (!this.closed) this.frame ??= requestAnimationFrame((now) => this.#step(now));
  }

  /** Free everything the graphics card holds for it. */
  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame ?? 0);
    this.resizing.disconnect();
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #step(now) {
    this.frame = null;
    if (this.closed || this.gl.isContextLost()) return;
    const goal = this.#goalAt(now);
    // If the user prefers less motion, the eye jumps there.
    const share = this.sways ? 1 - Math.exp((this.drawnAt - now) / EASE) : 1;
    this.drawnAt = now;
    for (const axis of [0, 1]) this.eye[axis] += (goal[axis] - this.eye[axis]) * share;
    this.#draw(now);
    const still = Math.hypot(goal[0] - this.eye[0], goal[1] - this.eye[1]) < 0.001;
    if (this.sways || this.motion || !still) this.wake();
  }

  /** Return where the eye goes; after a while without input, it wanders. */
  #goalAt(now) {
    const idle = Math.min(1, Math.max(0, (now - this.touchedAt - PATIENCE) / 1500));
    if (!this.sways || idle === 0) return this.goal;
    const angle = now / 1900;
    return [idle * 0.55 * Math.sin(angle) + (1 - idle) * this.goal[0], idle * 0.3 * Math.sin(0.7 * angle) + (1 - idle) * this.goal[1]];
  }

  #draw(now) {
    const { gl, canvas } = this;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (width === 0 || height === 0) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(...GROUND, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.#crop(width, height);
    gl.useProgram(this.program);
    const uniform = (name) => gl.getUniformLocation(this.program, name);
    gl.uniformMatrix4fv(uniform("view"), false, this.#view(width / height, now));
    gl.uniform2f(uniform("range"), NEAREST, this.#far());
    gl.uniform1i(uniform("depth"), 1);
    for (const { array, texture, count } of this.loaded) {
      gl.bindVertexArray(array);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    }
    gl.disable(gl.SCISSOR_TEST);
  }

  /** Draw a motion only where the photo was, as a clip shows it. */
  #crop(width, height) {
    if (!this.motion) return;
    const scale = height / (2 * this.#half(width / height));
    const size = frameOf(this.aspect).map((side) => Math.round(side * scale));
    this.gl.enable(this.gl.SCISSOR_TEST);
    this.gl.scissor(Math.round((width - size[0]) / 2), Math.round((height - size[1]) / 2), size[0], size[1]);
  }

  /** Half of the height that the canvas shows at distance 1, so that the whole photo fits into it. */
  #half(aspect) {
    const [width, height] = frameOf(this.aspect);
    return (Math.max(height, width / aspect) / 2) * 1.02;
  }

  /** The distance of the farthest point. */
  #far() {
    return NEAREST + this.spread * this.strength;
  }

  #view(aspect, now) {
    const { eye, target, enlarged } = this.#pose(now);
    return multiply(perspective(this.#half(aspect) / enlarged, aspect, 0.05, 20), lookFrom(eye, target));
  }

  #pose(now) {
    const { motion, strength, spread } = this;
    if (motion) return poseAt(motion.name, ((now - motion.since) / 1000 / SECONDS) % 1, { amount: amountOf(strength), far: this.#far(), frame: frameOf(this.aspect) });
    const eye = [STEP_ASIDE * this.eye[0], -STEP_ASIDE * this.eye[1], -NEAREST_EYE * this.zoom];
    return { eye, target: [0, 0, -(NEAREST + 0.35 * spread * strength)], enlarged: 1 };
  }
}

/** Hand a sheet to the graphics card. */
function load(gl, /** @type {Sheet} */ { points, places, edges, triangles, picture }) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  const buffers = [fill(gl, gl.ELEMENT_ARRAY_BUFFER, triangles)];
  for (const [location, [numbers, size]] of [[points, 3], [places, 2], [edges, 2]].entries()) {
    if (numbers === null) continue;
    buffers.push(fill(gl, gl.ARRAY_BUFFER, numbers));
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, gl.FLOAT, false, 0, 0);
  }
  const texture = makeTexture(gl, gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  gl.generateMipmap(gl.TEXTURE_2D);
  return /** @type {Loaded} */ ({ array, buffers, texture, count: triangles.length });
}

function makeTexture(gl, smaller, larger) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, smaller);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, larger);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return texture;
}

function fill(gl, target, data) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(target, buffer);
  gl.bufferData(target, data, gl.STATIC_DRAW);
  return buffer;
}
