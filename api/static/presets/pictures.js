// The pictures of the presets: one scene, a ball before a hill, as each of them shows it.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [64, 40];

/** @typedef {[string, Record<string, string | number>]} Shape */

const rect = (x, y, width, height, fill, more = {}) => /** @type {Shape} */ (["rect", { x, y, width, height, fill, ...more }]);
const oval = (cx, cy, rx, ry, fill, more = {}) => /** @type {Shape} */ (["ellipse", { cx, cy, rx, ry, fill, ...more }]);
const path = (d, fill, more = {}) => /** @type {Shape} */ (["path", { d, fill, ...more }]);
const line = (d, stroke, width = 1) => path(d, "none", { stroke, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" });

/** The scene within a frame, whose ball is moved by `shift`: sky, hill, ground, ball. */
function scene({ x = 0, y = 0, width = WIDTH, height = HEIGHT, shift = 0 }, /** @type {string[]} */ [sky, hill, ground, ball]) {
  const at = (u, v) => `${(x + u * width).toFixed(1)} ${(y + v * height).toFixed(1)}`;
  return [
    rect(x, y, width, height, sky),
    path(`M${at(0, 0.62)}L${at(0.3, 0.2)}L${at(0.62, 0.62)}z`, hill),
    rect(x, y + 0.6 * height, width, 0.4 * height, ground),
    oval(x + (0.64 + shift) * width, y + 0.62 * height, 0.25 * height, 0.25 * height, ball),
  ];
}

const WARM = ["#1b0c41", "#6a176e", "#bc3754", "#fca50a"];
const GRAY = ["#17171a", "#55555c", "#8f8f96", "#f4f4f6"];
const PAINT = ["#b9d9ef", "#7f9a7a", "#c9b48a", "#d6533c"];

/** @type {Record<string, () => Shape[]>} */
const DRAWINGS = {
  heatmaps: () => scene({}, WARM),
  vr: () => [
    rect(0, 0, WIDTH, HEIGHT, "#26222e"), rect(6, 7, 52, 26, "#0e0c12", { rx: 8 }),
    ...scene({ x: 10, y: 11, width: 20, height: 18, shift: 0.06 }, PAINT), ...scene({ x: 34, y: 11, width: 20, height: 18, shift: -0.06 }, PAINT),
  ],
  web3d: () => [
    rect(0, 0, WIDTH, HEIGHT, "#e9e4ef"), rect(0, 0, WIDTH, 7, "#8d8599"), ...["#fca50a", "#dd513a", "#932667"].map((fill, at) => oval(5 + 5 * at, 3.5, 1.5, 1.5, fill)),
    path("M32 11l13 6-13 6-13-6z", "#b9d9ef"), path("M19 17l13 6v13l-13-6z", "#7f9a7a"), path("M45 17l-13 6v13l13-6z", "#d6533c"),
  ],
  blender: () => [
    rect(0, 0, WIDTH, HEIGHT, "#33313a"),
    ...[0, 1, 2, 3, 4, 5].map((row) => {
      const [y, rise] = [14 + 4.4 * row, [2, 7, 13, 14, 9, 3][row]];
      return line(`M${8 - row} ${y}H${18 - row}C${28 - row} ${y} ${26} ${y - rise} ${33} ${y - rise}S${40 + row} ${y} ${47 + row} ${y}H${56 + row}`, row % 2 ? "#f5a25b" : "#e87d0d", 1.3);
    }),
  ],
  controlnet: () => scene({}, GRAY),
  "3dgs": () => [rect(0, 0, WIDTH, HEIGHT, "#1c1a22"), ...splats()],
  game: () => [
    rect(0, 0, WIDTH, HEIGHT, "#d9e6ef"),
    path("M8 8l26-4v20l-26 4z", "#6a176e"), path("M19 12l26-4v20l-26 4z", "#bc3754", { opacity: 0.9 }), path("M30 16l26-4v20l-26 4z", "#fca50a", { opacity: 0.92 }),
  ],
  print: () => [
    rect(0, 0, WIDTH, HEIGHT, "#d8d4cd"), path("M6 30L16 9H58L52 30z", "#f7f5f1"), path("M6 30H52V35H6z", "#b8b2a8"), path("M52 30L58 9V14L52 35z", "#a39c91"),
    ...[[11, 6, "#ded9d1"], [8, 4.4, "#cfc8bd"], [5, 2.8, "#f7f5f1"]].map(([rx, ry, fill], at) => oval(34, 20 - 1.6 * at, rx, ry, fill, { stroke: "#a39c91", "stroke-width": 0.6 })),
  ],
  share: () => [
    rect(0, 0, WIDTH, HEIGHT, "#26222e"), ...scene({ x: 8, width: 48 }, PAINT),
    ...[2, 59].flatMap((x) => [4, 13, 22, 31].map((y) => rect(x, y, 3, 5, "#8d8599", { rx: 1 }))),
    oval(32, 20, 9, 9, "#0e0c12", { opacity: 0.7 }), path("M29 15l8 5-8 5z", "#ffffff"),
  ],
};

/** Ellipses of many sizes that are the scene from afar. */
function splats() {
  return Array.from({ length: 60 }, (_, at) => {
    const [u, v] = [(at * 0.6180339887) % 1, (at + 0.5) / 60];
    const inBall = Math.hypot((u - 0.64) * WIDTH, (v - 0.62) * HEIGHT) < 11;
    const inHill = v > 0.2 && v < 0.62 && Math.abs(u - 0.3) < 0.75 * (v - 0.2);
    const fill = PAINT[inBall ? 3 : v > 0.62 ? 2 : inHill ? 1 : 0];
    return oval((u * WIDTH).toFixed(1), (v * HEIGHT).toFixed(1), 2 + (at % 4), 1.4 + (at % 3), fill, { opacity: 0.72, transform: `rotate(${(at * 47) % 180} ${(u * WIDTH).toFixed(1)} ${(v * HEIGHT).toFixed(1)})` });
  });
}

/** The names of all presets that have a picture; `heatmaps` is none of the server's, but what it makes without one. */
export const PICTURED = Object.keys(DRAWINGS);

/** Make the picture of a preset. Screen readers skip it. */
export function pictureOf(/** @type {string} */ preset) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", `0 0 ${WIDTH} ${HEIGHT}`], ["class", "preset-picture"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  for (const [tag, attributes] of DRAWINGS[preset]()) {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, String(value));
    svg.append(shape);
  }
  return svg;
}
