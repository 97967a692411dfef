"""The blur of a lens with an open aperture, at the size at which a large blur needs no more pixels.

The picture is cut into slices by the radius of their blur. Each slice is blurred as a whole, with a disc, and
they are laid over each other from far to near: so light of near things spreads over far ones and never the
other way. Under nearer slices a slice is continued (`worker.pipeline.scene.fill`), so that its blur draws
nothing from what stands before it. The method is that of layered depth of field (Scofield, 2 1/2-D
depth-of-field simulation for computer animation, 1992) with premultiplied alpha (Porter and Duff, 1984).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats
from worker.pipeline.scene.fill import fill
from worker.pipeline.sizes import fit

#: Radii of blur in pixels. What has less than the first is sharp, and what has more than the second is not.
SHARP, BLURRED = 0.4, 1.0

#: How many times the radius at its one end a slice has at its other.
_RATIO = 1.6

#: A radius that OpenCV still filters with directly. Larger ones are made at half the size, or less.
_MOST_RADIUS = 5.0

#: The longer side at which what lies under nearer things is filled in.
_FILL_SIDE = 160

#: Where radii differ by more than this, and by more than this share of the blur, two things meet.
_JUMP, _JUMP_SHARE = 1.5, 0.25

#: The radius from which on what is before the focus is not seen through its own blur.
_HIDDEN = BLURRED + 2 * (BLURRED - SHARP)


@dataclass(frozen=True, kw_only=True)
class Defocused:
    """A blurred picture in parts: `front`, over the sharp picture where that shows, and over `behind`."""

    #: Light of what is behind the focus, h x w x 3; under nearer things, what is continued there.
    behind: Floats
    #: Light of what is before the focus, times its alpha, and the alpha: h x w x 4.
    front: Floats
    #: How much of the sharp picture shows under `front`, 0 to 1, h x w; by `sharpness` of each pixel at most.
    sharp: Floats
    #: Where the sharp picture may show at all, 0 or 1, h x w; a pixel wider than `sharp`.
    visible: Floats

    def merged(self, light: Floats) -> Floats:
        """Return the whole picture, h x w x 3, given its light."""
        return merge(light, self.sharp, self.behind, self.front)


def merge(light: Floats, sharp: Floats, behind: Floats, front: Floats | None) -> Floats:
    """Return `front` over the mixture of `light`, by the share `sharp`, and `behind`."""
    mixed = np.asarray(cv2.blendLinear(light, behind, sharp, 1 - sharp), np.float32)
    return mixed if front is None else _over(front, mixed)


def sharpness(blur: Floats) -> Floats:
    """Return how sharp a pixel is that has this radius of blur, which is negative behind the focus: 0 to 1.

    Before the focus the blurred slice covers the sharp picture, so that ends a little later.
    """
    behind, before = (blur + np.float32(BLURRED)), (np.float32(_HIDDEN) - blur)
    share = np.minimum(behind, before, out=behind)
    share *= np.float32(1 / (BLURRED - SHARP))
    return np.asarray(np.clip(share, 0, 1, out=share), np.float32)


def defocus(light: Floats, blur: Floats, widened: Floats) -> Defocused:
    """Blur a picture, h x w x 3 of linear light, by a radius of its own at each pixel.

    `blur` is the radius in pixels, h x w: negative behind the focus, positive before it. `widened` is the
    same with near things widened, to pixels that may have some of their colour.
    """
    blur = _without_ramps(blur)
    mixed = cv2.dilate(np.maximum(widened, blur), np.ones((3, 3), np.uint8)) - blur > _JUMP
    levels = [_Level(light, blur, mixed)]
    slices = list(_slices(blur))
    far = [each for each in slices if each.high <= 0]
    near = [each for each in slices if each.low >= 0]
    back = _behind(levels, far, slices) if far else light
    sharp = sharpness(blur)
    hidden = (blur > _HIDDEN) | (mixed & (blur > -BLURRED))
    if near:
        scene = _continued(merge(light, sharp, back, None), ~hidden)
        back = np.where((blur > SHARP)[..., np.newaxis] | hidden[..., np.newaxis], scene, back)
    visible = _visible(sharp, hidden)
    front = _front(levels, near)
    return Defocused(behind=back, front=front, sharp=sharp * visible, visible=visible)


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """Pixels whose blur is from `low` to below `high`; both have one sign."""

    low: float
    high: float
    #: Their mean radius.
    radius: float


@dataclass(frozen=True)
class _Level:
    """The picture at the full size, or at a half of it, a quarter, ..."""

    light: Floats
    blur: Floats
    #: Pixels that may have colours of much nearer things.
    mixed: NDArray[np.bool_]

    def halved(self) -> _Level:
        height, width = self.blur.shape
        size = (width + 1) // 2, (height + 1) // 2
        any_of_four = cv2.dilate(self.mixed.astype(np.uint8), np.ones((2, 2), np.uint8), anchor=(0, 0))
        return _Level(
            np.asarray(cv2.resize(self.light, size, interpolation=cv2.INTER_AREA), np.float32),
            np.asarray(cv2.resize(self.blur, size, interpolation=cv2.INTER_NEAREST), np.float32),
            np.asarray(cv2.resize(any_of_four, size, interpolation=cv2.INTER_NEAREST)) > 0,
        )


def _slices(blur: Floats) -> Iterator[_Slice]:
    """Yield the slices that have pixels, from far to near, without the sharp one."""
    largest = float(np.abs(blur).max())
    edges = [SHARP, BLURRED * _RATIO]
    while edges[-1] <= largest:
        edges.append(edges[-1] * _RATIO)
    signed = [-edge for edge in reversed(edges)] + edges
    for low, high in pairwise(signed):
        if low == -SHARP:
            continue
        radii = blur[(blur >= low) & (blur < high)]
        if radii.size:
            yield _Slice(low=low, high=high, radius=abs(float(radii.mean(dtype=np.float64))))


def _behind(levels: list[_Level], slices: Sequence[_Slice], all_slices: Sequence[_Slice]) -> Floats:
    """Return the slices behind the focus, the farthest first, over each other: light, h x w x 3."""
    canvas = _blurred(levels, slices[0], all_slices, everywhere=True)[..., :3]
    for each in slices[1:]:
        layer = _blurred(levels, each, all_slices)
        canvas = _over(layer, _resized(canvas, layer.shape))
    return _resized(canvas, levels[0].light.shape)


def _front(levels: list[_Level], slices: Sequence[_Slice]) -> Floats:
    """Return the slices before the focus over each other, h x w x 4: premultiplied light, and alpha."""
    canvas: Floats = np.zeros((1, 1, 4), np.float32)
    # From the nearest on: it is the most blurred, so the size only grows.
    for each in reversed(slices):
        layer = _blurred(levels, each, slices)
        canvas = _resized(canvas, layer.shape)
        canvas = canvas + (1 - canvas[..., 3:]) * layer
    return _resized(canvas, levels[0].blur.shape)


def _blurred(
    levels: list[_Level], each: _Slice, all_slices: Sequence[_Slice], *, everywhere: bool = False
) -> Floats:
    """Return a slice, blurred: light times alpha, and alpha, at the size of the level that is enough for it.

    It is continued under nearer slices as far as their blur lets it be seen, or `everywhere`.
    """
    number = max(0, ceil(np.log2(each.radius / _MOST_RADIUS)))
    while len(levels) <= number:
        levels.append(levels[-1].halved())
    level, shrunk = levels[number], 2.0**-number
    reach = each.radius + max((other.radius for other in all_slices if other.low >= each.high), default=0.0)
    alpha = np.ones_like(level.blur) if everywhere else _alpha(level.blur, each, ceil(reach * shrunk))
    known = (level.blur < each.high + max(_JUMP, _JUMP_SHARE * each.radius)) & ~level.mixed
    light = _continued(level.light, known) if (alpha[~known] > 0).any() else level.light
    layer = np.empty((*alpha.shape, 4), np.float32)
    np.multiply(light, alpha[..., np.newaxis], out=layer[..., :3])
    layer[..., 3] = alpha
    blurred = cv2.filter2D(layer, -1, _disc(each.radius * shrunk), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def _alpha(blur: Floats, each: _Slice, reach: int) -> Floats:
    """Return where a slice is, and where it goes on under nearer things next to it; 0 to 1, h x w."""
    inside = (blur >= each.low) & (blur < each.high)
    around = cv2.dilate(inside.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    alpha = ((around > 0) & (blur >= each.low)).astype(np.float32)
    if each.low == SHARP:
        # The first one before the focus begins softly, over the sharp picture.
        alpha *= np.clip((blur - SHARP) / (BLURRED - SHARP), 0, 1)
    return alpha


def _continued(light: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return light with a smooth continuation of what is known in place of the rest."""
    if not known.any():
        return light
    height, width = known.shape
    size = fit(height, width, _FILL_SIDE)[::-1]
    weights = known.astype(np.float32)
    share = cv2.resize(weights, size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(light * weights[..., np.newaxis], size, interpolation=cv2.INTER_AREA)
    coarse = fill(np.asarray(sums / np.maximum(share, 1e-6)[..., np.newaxis], np.float32), share > 0)
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(known[..., np.newaxis], light, below)


def _visible(sharp: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """Return where the sharp picture may show: near what is sharp, and where nothing near colours it."""
    around = cv2.dilate((sharp > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    return ((around > 0) & ~hidden).astype(np.float32)


def _without_ramps(blur: Floats) -> Floats:
    """Return the radii with steps for edges, where a map takes all values between those of two things.

    It is the toggle mapping of Kramer and Bruckner (1975): each pixel takes the nearer of the least and the
    largest around it, here only where these are far apart.
    """
    around = np.ones((5, 5), np.uint8)
    high, low = cv2.dilate(blur, around), cv2.erode(blur, around)
    nearer = np.where(blur - low < high - blur, low, high)
    return np.where(high - low > _JUMP, nearer, blur)


@lru_cache(maxsize=64)
def _disc(radius: float) -> Floats:
    """Return a disc of this radius whose sum is 1; pixels on its rim count by how much of them is inside."""
    reach = ceil(radius)
    steps = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(steps[:, np.newaxis], steps), 0, 1)
    return np.asarray(disc / disc.sum(), np.float32)


def _over(layer: Floats, canvas: Floats) -> Floats:
    """Return a layer, h x w x 4, premultiplied, over an opaque picture, h x w x 3."""
    return layer[..., :3] + (1 - layer[..., 3:]) * canvas


def _resized(values: Floats, shape: tuple[int, ...]) -> Floats:
    if values.shape[:2] == shape[:2]:
        return values
    return np.asarray(cv2.resize(values, shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
