// The two programs that the graphics card runs for a photo in 3D.

/**
 * The network gives relative inverse depth, so the shader interpolates between the inverse distances of the nearest and
 * the farthest point. With the true distances of these two, the shape would be true.
 */
export const VERTEX = `#version 300 es
layout(location = 0) in vec3 point;
layout(location = 1) in vec2 where;
layout(location = 2) in vec2 edge;
uniform mat4 view;
uniform vec2 range;
out vec2 place;
flat out vec2 cut;
void main() {
  float distance = 1.0 / mix(1.0 / range.y, 1.0 / range.x, point.z);
  place = where;
  cut = edge;
  gl_Position = view * vec4(point.xy * distance, -distance, 1.0);
}`;

/** On an edge, the near thing and what is behind it are drawn over each other. Each pixel belongs to one of them. */
export const FRAGMENT = `#version 300 es
precision mediump float;
uniform sampler2D picture;
uniform highp sampler2D depth;
in vec2 place;
flat in vec2 cut;
out vec4 colour;
void main() {
  if (cut.x != 0.0 && (textureLod(depth, place, 0.0).r < cut.y) == (cut.x > 0.0)) discard;
  colour = vec4(texture(picture, place).rgb, 1.0);
}`;

/** Compile a program. Throws an Error with the compiler's message. */
export function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "");
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "");
  return program;
}
