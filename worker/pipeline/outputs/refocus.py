"""The photo with an open aperture: what is in focus is sharp, and the rest is blurred as a lens would do it.

Blurred parts are made at a reduced size (`worker.pipeline.scene.focus.defocus`). Here they are joined with
the photo, a block at a time, and most blocks are all of the photo or all of the blur.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.colour import BAND_ROWS, cut_at_bands
from worker.pipeline.depth import is_flat
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.encode.files import encode_jpeg
from worker.pipeline.outputs.rendering import Rendering, nearness_strips
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.enlarge import enlarge
from worker.pipeline.scene.focus.defocus import SHARP, Defocused, defocus, merge, sharpness
from worker.pipeline.scene.focus.light import from_light, to_light
from worker.pipeline.scene.focus.point import nearness_in_focus
from worker.pipeline.stages import Stage

#: The longer side that is enough for what is blurred.
_REDUCED_SIDE = 1024

#: The width of a block at the reduced size.
_BLOCK = 64

#: Blocks whose front has less alpha than this have none.
_LEAST_ALPHA = 1e-3


def refocus(r: Rendering) -> bytes:
    height, width = r.depth.shape
    fold = ceil(max(height, width) / _REDUCED_SIDE)
    with r.stopwatch.time(Stage.COLOUR):
        planes = None if is_flat(r.nearness_span(r.depth)) else _reduce(r, fold)
    if planes is None:
        with r.stopwatch.time(Stage.ENCODE):
            return encode_jpeg(r.photo.rgb)
    jpeg = BandedJpeg(height, width, BAND_ROWS)
    for band in r.stopwatch.time_each(Stage.COLOUR, _bands(r, planes)):
        with r.stopwatch.time(Stage.ENCODE):
            jpeg.add_rgb(band)
    return jpeg.finish()


@dataclass(frozen=True, kw_only=True)
class _Planes:
    """What the photo is joined with. Each of its pixels is a square of `fold` x `fold` of the photo."""

    fold: int
    #: Nearness that is in focus, and the radius of the blur, in pixels of this size, where it differs by 1.
    focus: float
    radius: float
    defocused: Defocused
    #: The whole picture, uint8, h x w x 3.
    merged: Pixels


def _reduce(r: Rendering, fold: int) -> _Planes | None:
    """Return the picture at a reduced size, blurred; None if nothing is out of focus."""
    options = r.options.refocus
    shape = -(-r.depth.shape[0] // fold), -(-r.depth.shape[1] // fold)
    nearness = r.nearness(*shape)
    focus = nearness_in_focus(nearness, options.focus)
    radius = options.aperture / 100 * max(r.depth.shape) / fold
    blur = (nearness - np.float32(focus)) * np.float32(radius)
    if np.abs(blur).max() <= SHARP:
        return None
    widened = (r.nearness(*shape, options.edge_dilation) - np.float32(focus)) * np.float32(radius)
    light = _reduced_light(r.photo.rgb, fold)
    defocused = defocus(light, blur, widened)
    merged = from_light(defocused.merged(light))
    return _Planes(fold=fold, focus=focus, radius=radius, defocused=defocused, merged=merged)


def _reduced_light(rgb: Pixels, fold: int) -> Floats:
    """Return the mean light of squares of `fold` x `fold` pixels; at the borders, pixels are repeated."""
    height, width = rgb.shape[:2]
    rows, columns = -(-height // fold), -(-width // fold)
    light = np.empty((rows, columns, 3), np.float32)
    for top in range(0, rows, _BLOCK):
        bottom = min(top + _BLOCK, rows)
        part = rgb[top * fold : bottom * fold]
        below, right = (bottom - top) * fold - part.shape[0], columns * fold - width
        if below or right:
            part = np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")
        cv2.resize(
            to_light(part), (columns, bottom - top), dst=light[top:bottom], interpolation=cv2.INTER_AREA
        )
    return light


def _bands(r: Rendering, planes: _Planes) -> Iterator[Pixels]:
    """Yield bands of the picture, each valid until the next."""
    width = r.depth.shape[1]
    band: Pixels = r.scratch.take("rgb", (BAND_ROWS, width, 3), np.uint8)
    for top, nearness in _nearness_bands(r):
        rows = slice(top, top + nearness.shape[0])
        for left in range(0, width, _BLOCK * planes.fold):
            columns = slice(left, min(left + _BLOCK * planes.fold, width))
            block = _Block(planes, rows, columns)
            band[: nearness.shape[0], columns] = block.pixels(
                r.photo.rgb[rows, columns], nearness[:, columns]
            )
        yield band[: nearness.shape[0]]


def _nearness_bands(r: Rendering) -> Iterator[tuple[int, Floats]]:
    """Yield the map in bands, each with the number of its first row, valid until the next."""
    height, width = r.depth.shape
    band: Floats = r.scratch.take("nearness_band", (BAND_ROWS, width), np.float32)
    top = 0
    for strip in cut_at_bands(nearness_strips(r.depth, r.nearness_span(r.depth))):
        first = top % BAND_ROWS
        band[first : first + strip.shape[0]] = strip
        top += strip.shape[0]
        if top % BAND_ROWS == 0 or top == height:
            begin = (top - 1) // BAND_ROWS * BAND_ROWS
            yield begin, band[: top - begin]


class _Block:
    """A block of the picture, whose first column is a multiple of `fold`."""

    def __init__(self, planes: _Planes, rows: slice, columns: slice) -> None:
        self._planes = planes
        self._rows = rows
        self._columns = columns
        height, width = planes.merged.shape[:2]
        # More on each side: edges of the map itself lie a little elsewhere.
        self._around = (
            _around(rows, planes.fold, height),
            _around(columns, planes.fold, width),
        )

    def pixels(self, rgb: Pixels, nearness: Floats) -> Pixels:
        """Return the block, given that of the photo and of the map."""
        defocused = self._planes.defocused
        sharp = defocused.sharp[self._around]
        if not sharp.any():
            return self._enlarged(self._planes.merged)
        front = defocused.front if defocused.front[self._around][..., 3].max() > _LEAST_ALPHA else None
        if front is None and sharp.min() >= 1:
            return rgb
        return self._merged(rgb, nearness, front)

    def _merged(self, rgb: Pixels, nearness: Floats, front: Floats | None) -> Pixels:
        planes = self._planes
        sharp = sharpness((nearness - np.float32(planes.focus)) * np.float32(planes.radius))
        # An edge of the map is about a pixel wide, and of that only a part is neither sharp nor blurred.
        sharp = np.asarray(cv2.blur(sharp, (3, 3)), np.float32) * self._enlarged(planes.defocused.visible)
        behind = self._enlarged(planes.defocused.behind)
        above = None if front is None else self._enlarged(front)
        return from_light(merge(to_light(rgb), sharp, behind, above))

    def _enlarged(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the block of values at the reduced size, interpolated linearly to the photo's."""
        return enlarge(values, self._planes.fold, self._rows, self._columns)


def _around(pixels: slice, fold: int, size: int) -> slice:
    """Return the pixels at the reduced size below those of the photo, and two more on each side."""
    return slice(max(0, pixels.start // fold - 2), min(size, -(-pixels.stop // fold) + 2))
