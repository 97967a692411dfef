// The programs that the graphics card runs for the previews. Each gets the photo and its nearness as textures.

export const VERTEX = `#version 300 es
out vec2 place;
void main() {
  vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1)) * 2.0;
  place = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(2.0 * corner - 1.0, 0.0, 1.0);
}`;

const HEAD = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D photo;
uniform sampler2D depth;
uniform vec2 pixel;
in vec2 place;
out vec4 colour;
float nearness(vec2 at) { return textureLod(depth, at, 0.0).r; }
`;

/** Linear light from the photo's bytes, and back (IEC 61966-2-1). */
const LIGHT = `
vec3 light(vec3 bytes) {
  return mix(bytes / 12.92, pow((bytes + 0.055) / 1.055, vec3(2.4)), step(0.04045, bytes));
}
vec3 shown(vec3 linear) {
  vec3 within = clamp(linear, 0.0, 1.0);
  return mix(12.92 * within, 1.055 * pow(within, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, within));
}
`;

/**
 * The view of an eye. A point of nearness n at u is seen at u + reach * (n - convergence). So the points that may be seen
 * at a pixel lie on a line, the nearest first: follow it until it meets the surface. Where it comes out behind an edge,
 * nothing was photographed. The background before the edge is mirrored there.
 */
const VIEW = `
uniform float convergence;
uniform float margin;
uniform int steps;
vec3 seen(vec2 at) { return textureLod(photo, at, 0.0).rgb; }
vec3 view(float reach) {
  vec2 at = (place - 0.5) * (1.0 - 2.0 * margin) + 0.5;
  float fall = 1.0 / float(steps);
  float level = 1.0;
  vec2 from = vec2(at.x - reach * (1.0 - convergence), at.y);
  float found = nearness(from);
  // The nearest point of a map may be rounded, and between two pixels it is less near.
  if (found >= level - 0.03) return seen(from);
  for (int step = 1; step <= 64; step += 1) {
    if (step > steps) break;
    float lower = level - fall;
    vec2 to = vec2(at.x - reach * (lower - convergence), at.y);
    float here = nearness(to);
    if (here >= lower) {
      float above = level - found;
      float below = here - lower;
      if (here - found < 2.0 * fall + 0.08) return seen(mix(from, to, above / max(above + below, 1e-6)));
      vec2 behind = vec2(2.0 * from.x - at.x + reach * (found - convergence), at.y);
      return seen(nearness(behind) < found + 0.1 ? behind : from);
    }
    level = lower;
    from = to;
    found = here;
  }
  return seen(from);
}
`;

export const WIGGLE = `${HEAD}${VIEW}
uniform float reach;
void main() { colour = vec4(view(reach), 1.0); }`;

/**
 * The matrices are for linear light, column by column: Dubois, "Conversion of a Stereo Pair to Anaglyph with the
 * Least-Squares Projection Method" (2009), for red and cyan glasses before an LCD.
 */
export const ANAGLYPH = `${HEAD}${LIGHT}${VIEW}
uniform float reach;
const mat3 LEFT = mat3(0.437, -0.062, -0.048, 0.449, -0.062, -0.050, 0.164, -0.024, -0.017);
const mat3 RIGHT = mat3(-0.011, 0.377, -0.026, -0.032, 0.761, -0.093, -0.007, 0.009, 1.234);
void main() { colour = vec4(shown(LEFT * light(view(reach)) + RIGHT * light(view(-reach))), 1.0); }`;

/**
 * Surface normals in OpenGL's colours: red is to the right, green is up. Inverse distance is linear over a plane, so its
 * slope gives the plane. The slope is fitted to a disc of pixels that are about as near, because depth may have only 256
 * steps.
 */
export const NORMALS = `${HEAD}
uniform vec2 frame;
uniform float ratio;
uniform float reach;
void main() {
  float far = 1.0 / ratio;
  float here = nearness(place);
  vec2 slope = vec2(0.0);
  vec2 weight = vec2(1e-9);
  for (int each = 0; each < 96; each += 1) {
    float angle = 2.39996323 * float(each);
    vec2 by = sqrt((float(each) + 0.5) / 96.0) * reach * vec2(cos(angle), sin(angle)) * pixel;
    float rise = nearness(place + by) - here;
    float alike = exp(-rise * rise / 0.0006);
    vec2 ray = by * vec2(frame.x, -frame.y);
    slope += alike * ray * rise;
    weight += alike * ray * ray;
  }
  slope *= (1.0 - far) / weight;
  vec2 ray = (place - 0.5) * vec2(frame.x, -frame.y);
  vec3 normal = normalize(vec3(-slope, mix(far, 1.0, here) - dot(slope, ray)));
  colour = vec4(0.5 * normal + 0.5, 1.0);
}`;

/**
 * Blur that grows with the distance from the focus, in linear light. Nearer samples cover this pixel by their share of the
 * disc that they are spread over. What is behind them is the mean of what lies as far or farther, within the pixel's own
 * blur: so the background shows through the soft edge of a near thing, but does not spread over a sharp one.
 */
export const REFOCUS = `${HEAD}${LIGHT}
uniform float focus;
uniform float reach;
float blurOf(float near) { return reach * abs(near - focus); }
vec3 lightAt(vec2 at) { return light(textureLod(photo, at, 0.0).rgb); }
void main() {
  float widest = reach * max(focus, 1.0 - focus);
  float here = nearness(place);
  float own = blurOf(here);
  vec4 behind = vec4(lightAt(place), 1.0);
  vec4 before = vec4(0.0);
  for (int each = 1; each < 160; each += 1) {
    float angle = 2.39996323 * float(each);
    float away = sqrt(float(each) / 160.0) * widest;
    vec2 at = place + away * vec2(cos(angle), sin(angle)) * pixel;
    float there = nearness(at);
    bool nearer = there > here + 0.02;
    float blur = nearer ? blurOf(there) : own;
    float share = smoothstep(away - 1.0, away + 0.5, blur);
    vec4 spread = share * vec4(lightAt(at), 1.0);
    if (nearer) before += spread * widest * widest / (160.0 * max(blur * blur, 1.0));
    else behind += spread;
  }
  vec3 seen = mix(behind.rgb / behind.a, before.rgb / max(before.a, 1e-6), min(1.0, before.a));
  colour = vec4(shown(seen), 1.0);
}`;
