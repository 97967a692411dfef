"""The bank of textures: noise, patterns, facades, foliage, photographs and photographed cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.assets import find_photographs, find_stamps

Image = NDArray[np.float32]
Bytes = NDArray[np.uint8]

#: Side of each mipmap level of a texture, in texels.
SIDES = (256, 128, 64, 32, 16, 8)

#: Number of procedural textures by kind.
_COUNTS = {"noise": 60, "pattern": 90, "facade": 40, "foliage": 40, "mesh": 24, "cloth": 60}


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A photographed object cut out of its background."""

    texture: int
    #: Width divided by height.
    aspect: float
    #: The folder that it came from: animals, plants, food, ...
    family: str
    #: Smooth bulge inside its silhouette, 0..1, on a coarse grid.
    bulge: Image


@dataclass(frozen=True, kw_only=True)
class TextureBank:
    """All textures with their mipmaps, as one flat array for fast look-ups."""

    #: Every level of every texture, texel after texel, as RGBA packed in 32 bits.
    texels: NDArray[np.uint32]
    #: Where in `texels` each level begins.
    offsets: NDArray[np.int64]
    #: Mean colour of each texture, N x 3 in 0..1.
    means: Image
    #: Texture numbers by kind: noise, pattern, cloth, facade, foliage, mesh, photo.
    kinds: dict[str, NDArray[np.int64]]
    stamps: tuple[Stamp, ...]

    def sample(self, texture: NDArray[np.int64], u: Image, v: Image, level: NDArray[np.int64]) -> Image:
        """Look textures up, bilinear and repeating, as N x 4 RGBA in 0..1; v = 0 is the top row."""
        side = np.asarray(SIDES)[level]
        x, y = u * side - 0.5, v * side - 0.5
        left, top = np.floor(x), np.floor(y)
        fx, fy = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
        mask = side - 1
        x0, y0 = left.astype(np.int64), top.astype(np.int64)
        base = self.offsets[level] + texture * side * side
        rows = [base + (row & mask) * side for row in (y0, y0 + 1)]
        columns = [x0 & mask, (x0 + 1) & mask]
        upper = self._fetch(rows[0] + columns[0]) * (1 - fx) + self._fetch(rows[0] + columns[1]) * fx
        lower = self._fetch(rows[1] + columns[0]) * (1 - fx) + self._fetch(rows[1] + columns[1]) * fx
        result: Image = upper * (1 - fy) + lower * fy
        return result

    def _fetch(self, index: NDArray[np.int64]) -> Image:
        packed = self.texels[index]
        return packed.view(np.uint8).reshape(-1, 4).astype(np.float32) * np.float32(1 / 255)


def build_bank(root: Path, seed: int, *, variety: float = 1.0) -> TextureBank:
    """Make the bank from a seed and from the photographs below `root/assets`, if any.

    `variety` scales the number of textures of each kind, never below two.
    """
    rng = np.random.default_rng([seed, 1])
    count = {kind: max(round(number * variety), 2) for kind, number in _COUNTS.items()}
    photographs = _load_photographs(root)
    groups: dict[str, list[Bytes]] = {
        "noise": [_opaque(make_noise(rng)) for _ in range(count["noise"])],
        "pattern": [_opaque(make_pattern(rng)) for _ in range(count["pattern"])],
        "facade": [_opaque(make_facade(rng)) for _ in range(count["facade"])],
        "foliage": [make_foliage(rng) for _ in range(count["foliage"])],
        "mesh": [make_mesh(rng) for _ in range(count["mesh"])],
        "photo": [_opaque(crop_square(rng, photo)) for photo in photographs for _ in range(5)],
    }
    stamps, pictures = _load_stamps(root)
    motifs = pictures or groups["foliage"]
    groups["cloth"] = [_opaque(make_cloth(rng, motifs)) for _ in range(count["cloth"])]
    if not groups["photo"]:
        groups["photo"] = groups["cloth"]
    layers, kinds = _number_groups(groups)
    numbered = tuple(replace(stamp, texture=len(layers) + i) for i, stamp in enumerate(stamps))
    return _pack(np.stack(layers + pictures), kinds, numbered)


@lru_cache(maxsize=1)
def cached_bank(root: Path, seed: int) -> TextureBank:
    """Make the bank once per process."""
    return build_bank(root, seed)


def make_noise(rng: np.random.Generator) -> Image:
    """Blend two or three colours by fractal noise that repeats."""
    field = fractal(rng)
    colours = draw_colours(rng, 3)
    image = colours[0] * (1 - field[..., None]) + colours[1] * field[..., None]
    if rng.random() < 0.5:
        second = np.clip(fractal(rng) * 3 - 1.5, 0, 1)[..., None]
        image = image * (1 - second) + colours[2] * second
    if rng.random() < 0.4:
        image = image * (1 + rng.uniform(0.05, 0.3) * rng.standard_normal((256, 256, 1)))
    return _clip(image)


def make_pattern(rng: np.random.Generator) -> Image:
    """Draw one of ten repeating patterns in three colours, slightly worn."""
    mask = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng)
    colours = draw_colours(rng, 3)
    image = colours[0] * (1 - mask[..., None]) + colours[1] * mask[..., None]
    if rng.random() < 0.35:
        other = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng)[..., None] * 0.6
        image = image * (1 - other) + colours[2] * other
    wear = rng.uniform(0, 0.5)
    return _clip(image * (1 - wear / 2 + wear * fractal(rng)[..., None]))


def make_cloth(rng: np.random.Generator, motifs: Sequence[Bytes]) -> Image:
    """Scatter many small motifs over a background, as on printed cloth, maps and posters."""
    canvas = make_pattern(rng) if rng.random() < 0.4 else make_noise(rng)
    for _ in range(int(rng.integers(10, 60))):
        motif = motifs[int(rng.integers(len(motifs)))]
        side = int(rng.integers(16, 90))
        small = (
            cv2.resize(np.rot90(motif, int(rng.integers(4))), (side, side), interpolation=cv2.INTER_AREA)
            / 255.0
        )
        y, x = rng.integers(0, 256, 2)
        rows, columns = (np.arange(side) + y) % 256, (np.arange(side) + x) % 256
        area = np.ix_(rows, columns)
        alpha = small[..., 3:]
        canvas[area] = canvas[area] * (1 - alpha) + small[..., :3] * alpha
    return _clip(canvas)


def make_facade(rng: np.random.Generator) -> Image:
    """Draw a wall with two to six rows of windows."""
    wall, glass, frame = draw_colours(rng, 3)
    image = np.broadcast_to(wall, (256, 256, 3)) * (0.8 + 0.4 * fractal(rng)[..., None])
    glass = glass * rng.uniform(0.1, 0.8)
    columns, rows = int(rng.integers(2, 7)), int(rng.integers(2, 7))
    width, height = 256 / columns, 256 / rows
    fill_x, fill_y = rng.uniform(0.3, 0.85), rng.uniform(0.35, 0.8)
    for row in range(rows):
        for column in range(columns):
            x, y = int((column + 0.5 - fill_x / 2) * width), int((row + 0.5 - fill_y / 2) * height)
            right, bottom = int(x + fill_x * width), int(y + fill_y * height)
            image[max(y - 3, 0) : bottom + 3, max(x - 3, 0) : right + 3] = frame
            image[y:bottom, x:right] = glass * rng.uniform(0.5, 1.6)
            if rng.random() < 0.5:
                image[y:bottom, (x + right) // 2 - 1 : (x + right) // 2 + 2] = frame
    return _clip(image)


def make_foliage(rng: np.random.Generator) -> Bytes:
    """Draw overlapping leaves or blades on a transparent background."""
    canvas = np.zeros((256, 256, 4), np.uint8)
    base = (
        rng.uniform(0, 255, 3) if rng.random() < 0.25 else np.array([60, 130, 50]) * rng.uniform(0.5, 1.5, 3)
    )
    size, thin = rng.uniform(6, 30), rng.uniform(0.12, 0.6)
    for _ in range(int(rng.integers(60, 400))):
        shade = np.clip(base * rng.uniform(0.4, 1.5), 0, 255)
        centre = (int(rng.integers(20, 236)), int(rng.integers(20, 236)))
        axes = (max(int(size * rng.uniform(0.6, 1.4)), 2), max(int(size * thin), 1))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 360), 0, 360, (*shade.tolist(), 255), -1)
    return canvas


def make_mesh(rng: np.random.Generator) -> Bytes:
    """Draw bars, wire mesh or lattice on a transparent background (fences, grilles, blinds)."""
    canvas = np.zeros((256, 256, 4), np.uint8)
    colour = (*(draw_colours(rng, 1)[0] * 255).tolist(), 255)
    count, width = int(rng.integers(3, 12)), int(rng.integers(3, 18))
    slant = rng.choice([0, 0, 256])
    for i in range(-count, 2 * count):
        at = int(i * 256 / count)
        cv2.line(canvas, (at, 0), (at + slant, 256), colour, width)
        if slant or rng.random() < 0.4:
            cv2.line(canvas, (at, 256), (at + slant, 0), colour, width)
    for at in rng.integers(0, 256, int(rng.integers(0, 4))):
        cv2.line(canvas, (0, int(at)), (256, int(at)), colour, width)
    return canvas


def crop_square(rng: np.random.Generator, image: Bytes) -> Image:
    """Crop a random square from a photograph and resize it to a texture."""
    height, width = image.shape[:2]
    side = int(min(height, width) * rng.uniform(0.3, 1.0))
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    return _clip(
        cv2.resize(image[y : y + side, x : x + side], (256, 256), interpolation=cv2.INTER_AREA) / 255.0
    )


def fractal(rng: np.random.Generator) -> Image:
    """Return repeating noise of seven octaves, stretched to 0..1."""
    total = np.zeros((256, 256))
    decay, stretch = rng.uniform(0.4, 0.85), rng.choice([1, 1, 2, 4])
    for octave in range(1, 8):
        cells = 2**octave
        values = rng.standard_normal((max(cells // stretch, 1), cells))
        values = np.pad(values, ((0, 1), (0, 1)), "wrap")
        smooth = cv2.resize(values, (288, 288), interpolation=cv2.INTER_CUBIC)[16:272, 16:272]
        total += smooth * decay**octave
    low, high = np.percentile(total, [1, 99])
    return _clip((total - low) / max(high - low, 1e-9))


def draw_colours(rng: np.random.Generator, count: int) -> Image:
    """Draw colours: most are muted, as in photographs, the rest are arbitrary."""
    colours = rng.uniform(0.03, 0.95, (count, 3))
    muted = rng.random((count, 1)) < 0.7
    grey = colours.mean(1, keepdims=True)
    return np.where(muted, grey + (colours - grey) * 0.3, colours).astype(np.float32)


def _cells(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    y, x = np.mgrid[0:256, 0:256] / 256.0
    return x, y, int(rng.integers(2, 14))


def _checks(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    return ((np.floor(x * n * 2) + np.floor(y * n * 2)) % 2).astype(np.float32)


def _stripes(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    across = x if rng.random() < 0.5 else y if rng.random() < 0.5 else x + y
    return ((across * n) % 1 < rng.uniform(0.2, 0.8)).astype(np.float32)


def _bricks(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    rows = np.floor(y * n * 2)
    gap = rng.uniform(0.05, 0.15)
    joint = ((x * n + 0.5 * (rows % 2)) % 1 < gap / 2) | ((y * n * 2) % 1 < gap)
    return joint.astype(np.float32)


def _tiles(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    gap = rng.uniform(0.03, 0.2)
    return (((x * n) % 1 < gap) | ((y * n) % 1 < gap)).astype(np.float32)


def _dots(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    shift = 0.5 * (np.floor(y * n) % 2) if rng.random() < 0.5 else 0
    distance = np.hypot((x * n + shift) % 1 - 0.5, (y * n) % 1 - 0.5)
    return (distance < rng.uniform(0.15, 0.48)).astype(np.float32)


def _plaid(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    widths = rng.uniform(0.1, 0.6, 2)
    bands = 0.5 * ((x * n) % 1 < widths[0]) + 0.5 * ((y * n) % 1 < widths[1])
    return np.asarray(bands, np.float32)


def _waves(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    phase = np.sin(2 * np.pi * x * int(rng.integers(1, 6))) * rng.uniform(0.1, 1)
    return (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * y * n + phase * 3))).astype(np.float32)


def _patches(rng: np.random.Generator) -> Image:
    count = int(rng.integers(8, 120))
    y, x = np.mgrid[0:256:2, 0:256:2]
    seeds = rng.uniform(0, 256, (count, 2))
    offset = np.abs(np.stack([y, x], -1)[..., None, :] - seeds)
    distance = np.minimum(offset, 256 - offset)
    nearest = np.argmin((distance**2).sum(-1), -1)
    values = rng.random(count).astype(np.float32)[nearest]
    return np.asarray(cv2.resize(values, (256, 256), interpolation=cv2.INTER_NEAREST), np.float32)


def _lettering(rng: np.random.Generator) -> Image:
    canvas = np.zeros((256, 256), np.uint8)
    scale = rng.uniform(0.4, 2.0)
    for y in range(10, 270, int(20 * scale) + 4):
        text = "".join(chr(int(c)) for c in rng.integers(40, 122, 40))
        cv2.putText(
            canvas, text, (-int(rng.integers(0, 20)), y), 0, scale * 0.6, 255, max(1, int(scale * 1.5))
        )
    return (canvas / 255.0).astype(np.float32)


def _rings(rng: np.random.Generator) -> Image:
    x, y, n = _cells(rng)
    distance = np.hypot(x - 0.5, y - 0.5) * rng.integers(4, 20)
    petals = np.sin(np.arctan2(y - 0.5, x - 0.5) * n) * rng.uniform(0, 0.5)
    return np.asarray((distance + petals) % 1 < 0.5, np.float32)


_PATTERNS = (_checks, _stripes, _bricks, _tiles, _dots, _plaid, _waves, _patches, _lettering, _rings)


def _load_photographs(root: Path) -> list[Bytes]:
    images = [cv2.imread(str(path)) for path in find_photographs(root)]
    return [_shrink(np.asarray(image, np.uint8))[..., ::-1] for image in images if image is not None]


def _shrink(image: Bytes) -> Bytes:
    factor = 700 / min(image.shape[:2])
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def _load_stamps(root: Path) -> tuple[tuple[Stamp, ...], list[Bytes]]:
    stamps: list[Stamp] = []
    pictures: list[Bytes] = []
    for path in find_stamps(root):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or min(image.shape[:2]) < 80:
            continue
        picture, aspect = _fit_stamp(np.asarray(image, np.uint8)[..., [2, 1, 0, 3]])
        if not 0.08 < (picture[..., 3] > 127).mean() < 0.97:
            continue
        family = path.relative_to(path.parents[_depth_below_stamps(path)]).parts[0]
        stamps.append(
            Stamp(texture=len(pictures), aspect=aspect, family=family, bulge=_measure_bulge(picture))
        )
        pictures.append(picture)
    return tuple(stamps), pictures


def _depth_below_stamps(path: Path) -> int:
    return next(i for i, parent in enumerate(path.parents) if parent.name == "stamps")


def _fit_stamp(image: Bytes) -> tuple[Bytes, float]:
    rows, columns = (np.flatnonzero((image[..., 3] > 60).any(axis)) for axis in (1, 0))
    cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) and len(columns) else image
    resized = cv2.resize(cut, (252, 252), interpolation=cv2.INTER_AREA)
    # A transparent border keeps the repeating look-up from blending opposite edges.
    framed = cv2.copyMakeBorder(resized, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    return np.asarray(framed, np.uint8), cut.shape[1] / cut.shape[0]


def _measure_bulge(picture: Bytes) -> Image:
    solid = (picture[..., 3] > 127).astype(np.uint8)
    distance = cv2.distanceTransform(solid, cv2.DIST_L2, 3)
    bulge = np.clip(distance / max(float(distance.max()), 1.0), 0, 1)
    return np.asarray(cv2.resize(cv2.GaussianBlur(bulge, (0, 0), 5), (20, 20)), np.float32)


def _number_groups(groups: dict[str, list[Bytes]]) -> tuple[list[Bytes], dict[str, NDArray[np.int64]]]:
    layers: list[Bytes] = []
    kinds = {}
    for kind, images in groups.items():
        kinds[kind] = np.arange(len(layers), len(layers) + len(images))
        layers += images
    return layers, kinds


def _pack(layers: Bytes, kinds: dict[str, NDArray[np.int64]], stamps: tuple[Stamp, ...]) -> TextureBank:
    levels, offsets, start = [], [], 0
    for side in SIDES:
        reduced = np.stack(
            [cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA) for layer in layers]
        )
        levels.append(np.ascontiguousarray(reduced).reshape(-1, 4).view(np.uint32).ravel())
        offsets.append(start)
        start += levels[-1].size
    weight = layers[..., 3:].astype(np.float64) + 1
    means = (layers[..., :3] * weight).sum((1, 2)) / weight.sum((1, 2)) / 255
    return TextureBank(
        texels=np.concatenate(levels),
        offsets=np.asarray(offsets),
        means=means.astype(np.float32),
        kinds=kinds,
        stamps=stamps,
    )


def _opaque(image: Image) -> Bytes:
    return np.concatenate([image * 255, np.full((256, 256, 1), 255)], -1).round().astype(np.uint8)


def _clip(image: ArrayLike) -> Image:
    return np.asarray(np.clip(np.asarray(image), 0, 1), np.float32)
