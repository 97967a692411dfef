// A photo displaced by its depth, in WebGL: a grid of points, each as far along its line of sight as its pixel is.
// From where the photo was taken, it looks like the photo; a step aside shows the space in it.

import { multiply, perspective, lookFrom } from "./matrices.js";
import { FRAGMENT, VERTEX, buildProgram } from "./shaders.js";

/** Points along the longer side of the grid. */
const POINTS = 320;
/** The distance of the nearest point, and how much farther the farthest is at full strength. */
const NEAREST = 1;
const SPREAD = 2.4;
/** The farthest step of the eye to a side, and how near it may come. */
const STEP_ASIDE = 0.24;
const NEAREST_EYE = 0.55;
/** The colour behind the photo, which is that of the stage around it. */
const GROUND = [0.09, 0.078, 0.122];
/** The points by which near things are widened. */
const WIDER = 2;
/** Milliseconds in which the eye covers two thirds of its way. */
const EASE = 180;

/** Milliseconds without input after which the eye begins to wander. */
const PATIENCE = 2000;

/** WebGL is missing, or its context was lost. */
class NoWebGl extends Error {}

/**
 * Shows a photo in 3D in a canvas. `look(x, y)` moves the eye, -1 to 1 each. `strength`, 0 to 1, is the depth, and `zoom`
 * the nearness. It draws only while something moves. Throws NoWebGl.
 */
export class Scene3d {
  constructor(canvas, picture, depth, { sways = true } = {}) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "low-power" });
    if (!this.gl) throw new NoWebGl("There is no WebGL 2.");
    this.aspect = picture.width / picture.height;
    this.sways = sways;
    this.strength = 0.6;
    this.zoom = 0;
    this.goal = [0, 0];
    this.eye = [0, 0];
    this.touchedAt = performance.now() - PATIENCE;
    this.drawnAt = performance.now();
    this.frame = null;
    this.closed = false;
    this.#build(picture, depth);
    this.resizing = new ResizeObserver(() => this.wake());
    this.resizing.observe(canvas);
    this.wake();
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

  set({ strength = this.strength, zoom = this.zoom }) {
    this.strength = strength;
    this.zoom = Math.max(0, Math.min(1, zoom));
    this.wake();
  }

  /** Show another picture at the same depth. */
  paint(picture) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    gl.generateMipmap(gl.TEXTURE_2D);
    this.wake();
  }

  wake() {
    if (!this.closed) this.frame ??= requestAnimationFrame((now) => this.#step(now));
  }

  /** Free everything the graphics card holds for it. */
  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    this.resizing.disconnect();
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #build(picture, depth) {
    const { gl } = this;
    const grid = makeGrid(depth, this.aspect);
    this.program = buildProgram(gl, VERTEX, FRAGMENT);
    this.count = grid.triangles.length;
    gl.bindVertexArray(gl.createVertexArray());
    fill(gl, gl.ARRAY_BUFFER, grid.points);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    fill(gl, gl.ELEMENT_ARRAY_BUFFER, grid.triangles);
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.enable(gl.DEPTH_TEST);
    this.paint(picture);
  }

  #step(now) {
    this.frame = null;
    if (this.closed || this.gl.isContextLost()) return;
    const goal = this.#goalAt(now);
    // If the user prefers less motion, the eye jumps there.
    const share = this.sways ? 1 - Math.exp((this.drawnAt - now) / EASE) : 1;
    this.drawnAt = now;
    for (const axis of [0, 1]) this.eye[axis] += (goal[axis] - this.eye[axis]) * share;
    this.#draw();
    const still = Math.hypot(goal[0] - this.eye[0], goal[1] - this.eye[1]) < 0.001;
    if (this.sways || !still) this.wake();
  }

  /** Return where the eye goes; after a while without input, it wanders. */
  #goalAt(now) {
    const idle = Math.min(1, Math.max(0, (now - this.touchedAt - PATIENCE) / 1500));
    if (!this.sways || idle === 0) return this.goal;
    const angle = now / 1900;
    return [idle * 0.55 * Math.sin(angle) + (1 - idle) * this.goal[0], idle * 0.3 * Math.sin(0.7 * angle) + (1 - idle) * this.goal[1]];
  }

  #draw() {
    const { gl, canvas } = this;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (width === 0 || height === 0) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(...GROUND, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    const uniform = (name) => gl.getUniformLocation(this.program, name);
    gl.uniformMatrix4fv(uniform("view"), false, this.#view(width / height));
    gl.uniform2f(uniform("frame"), Math.max(1, this.aspect), Math.max(1, 1 / this.aspect));
    gl.uniform2f(uniform("range"), NEAREST, NEAREST + SPREAD * this.strength);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  }

  /** From where the photo was taken, the whole photo fits into the canvas. */
  #view(aspect) {
    const [halfWidth, halfHeight] = [Math.max(1, this.aspect), Math.max(1, 1 / this.aspect)].map((half) => half / 2);
    const half = Math.max(halfHeight, halfWidth / aspect) * 1.02;
    const eye = [STEP_ASIDE * this.eye[0], -STEP_ASIDE * this.eye[1], -NEAREST_EYE * this.zoom];
    const middle = NEAREST + 0.35 * SPREAD * this.strength;
    return multiply(perspective(half, aspect, 0.05, 20), lookFrom(eye, [0, 0, -middle]));
  }
}

/** Points `(u, v, nearness)` over the whole photo, and the triangles between them. */
function makeGrid(depth, aspect) {
  const columns = Math.max(2, Math.round(aspect >= 1 ? POINTS : POINTS * aspect));
  const rows = Math.max(2, Math.round(aspect >= 1 ? POINTS / aspect : POINTS));
  const nearness = soften(widen(sample(depth, columns, rows), columns, rows), columns, rows);
  const points = new Float32Array(3 * columns * rows);
  for (let at = 0; at < columns * rows; at += 1) {
    points.set([(at % columns) / (columns - 1), Math.floor(at / columns) / (rows - 1), nearness[at]], 3 * at);
  }
  const triangles = new Uint32Array(6 * (columns - 1) * (rows - 1));
  for (let y = 0, to = 0; y < rows - 1; y += 1) {
    for (let x = 0; x < columns - 1; x += 1, to += 6) {
      const at = y * columns + x;
      triangles.set([at, at + columns, at + 1, at + 1, at + columns, at + columns + 1], to);
    }
  }
  return { points, triangles };
}

function sample(depth, columns, rows) {
  return Float32Array.from({ length: columns * rows }, (_, at) =>
    depth.at(((at % columns) + 0.5) / columns, (Math.floor(at / columns) + 0.5) / rows));
}

/** Widen near things a little, so that the background stretches at their edges instead of the things themselves. */
function widen(values, columns, rows) {
  return along(values, columns, rows, (near) => Math.max(...near));
}

/** Average the depth, because 8 bits have visible steps. */
function soften(values, columns, rows) {
  return along(values, columns, rows, (near) => near.reduce((sum, value) => sum + value, 0) / near.length);
}

/** Replace every value by `combine` of its neighbours, along the rows and then along the columns. */
function along(values, columns, rows, combine) {
  let result = values;
  for (const [step, place, length] of [[1, (at) => at % columns, columns], [columns, (at) => Math.floor(at / columns), rows]]) {
    const from = result;
    result = from.map((_, at) => {
      const here = place(at);
      const near = [];
      for (let by = -Math.min(WIDER, here); by <= Math.min(WIDER, length - 1 - here); by += 1) near.push(from[at + by * step]);
      return combine(near);
    });
  }
  return result;
}

function fill(gl, target, data) {
  gl.bindBuffer(target, gl.createBuffer());
  gl.bufferData(target, data, gl.STATIC_DRAW);
}
