// 4 x 4 matrices, column by column, as WebGL takes them.

export function multiply(a, b) {
  return Float32Array.from({ length: 16 }, (_, at) => {
    const [column, row] = [at >> 2, at & 3];
    return [0, 1, 2, 3].reduce((sum, k) => sum + a[4 * k + row] * b[4 * column + k], 0);
  });
}

/** Return a projection with `half` units from the middle to the upper edge at distance 1. */
export function perspective(half, aspect, near, far) {
  const depth = 1 / (near - far);
  return new Float32Array([
    1 / (half * aspect), 0, 0, 0,
    0, 1 / half, 0, 0,
    0, 0, (far + near) * depth, -1,
    0, 0, 2 * far * near * depth, 0,
  ]);
}

/** Return the view from `eye` at `target`, upright. */
export function lookFrom(eye, target) {
  const back = unit(minus(eye, target));
  const right = unit(cross([0, 1, 0], back));
  const up = cross(back, right);
  return new Float32Array([
    right[0], up[0], back[0], 0,
    right[1], up[1], back[1], 0,
    right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  ]);
}

function minus(a, b) {
  return a.map((value, at) => value - b[at]);
}

function dot(a, b) {
  return a.reduce((sum, value, at) => sum + value * b[at], 0);
}

function cross([a, b, c], [d, e, f]) {
  return [b * f - c * e, c * d - a * f, a * e - b * d];
}

function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
