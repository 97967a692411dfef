"""The photo for two eyes: both views in one picture, as an anaglyph, or as two files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from math import sqrt
from typing import TypeAlias

import cv2
import numpy as np

from fathom.options import Anaglyph, Eyes, StereoLayout, StereoOptions
from worker.pipeline.colour import BAND_ROWS
from worker.pipeline.depth import byte_strips, is_flat, resize
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.outputs.anaglyph import mix
from worker.pipeline.outputs.rendering import Rendering, dilate
from worker.pipeline.photo import Pixels
from worker.pipeline.scene.stereo.view import STRIP_ROWS, View
from worker.pipeline.scene.stereo.warp import Eye, Viewpoint, find_shifts
from worker.pipeline.scratch import Scratch
from worker.pipeline.sizes import fit, resize_photo
from worker.pipeline.stages import Stage

#: The longest side of one view: two fit into a JPEG.
MAX_VIEW_SIDE = 32_700

#: Pixels of the map that is moved. A view of 12 megapixels has 16 for each of them.
_MAP_PIXELS = 750_000

_LEFT, _RIGHT = 0, 1

#: Bands of a picture from top to bottom, each of `BAND_ROWS` rows but for the last, valid until the next.
Bands: TypeAlias = Iterator[Pixels]


def stereo(r: Rendering) -> bytes:
    """Return both views in one JPEG.

    A full view has the size of the map, a half one half its width or height, rounded up.
    """
    options = r.options.stereo
    if options.layout is StereoLayout.RGBD:
        return _rgbd(r)
    left, right = _views(r, _LEFT, _RIGHT)
    height, width = left.shape
    match options.layout:
        case StereoLayout.ANAGLYPH:
            return _encode(r, _mixed(left, right, options.anaglyph), left.shape, "444")
        case StereoLayout.TB_FULL | StereoLayout.TB_HALF:
            return _encode(r, _below(_one(left), _one(right), width), (2 * height, width))
        case StereoLayout.CROSS:
            return _encode(r, _beside(right, left), (height, 2 * width))
        case _:
            return _encode(r, _beside(left, right), (height, 2 * width))


def stereo_left(r: Rendering) -> bytes:
    """Return the left view of a pair, a JPEG."""
    (left,) = _views(r, _LEFT)
    return _encode(r, _one(left), left.shape)


def stereo_right(r: Rendering) -> bytes:
    """Return the right view of a pair, a JPEG."""
    (right,) = _views(r, _RIGHT)
    return _encode(r, _one(right), right.shape)


def viewpoints(options: StereoOptions) -> tuple[Viewpoint, Viewpoint]:
    """Return the left eye and the right one.

    Columns without a point lie beside the ones that moved, so both views lose the margins that the farthest
    move of either can need, and as much above and below, and are scaled up. That widens the disparity, which
    is smaller before, so that it comes out as promised.
    """
    share = {Eyes.BOTH: (0.5, 0.5), Eyes.LEFT: (1.0, 0.0), Eyes.RIGHT: (0.0, 1.0)}[options.eyes]
    wanted = options.divergence / 100
    farthest = max(options.convergence, 1 - options.convergence) * max(share)
    disparity = wanted / (1 + 2 * farthest * wanted)
    left, right = (
        Viewpoint(
            eye=eye,
            travel=part * disparity,
            convergence=options.convergence,
            margin=farthest * disparity,
        )
        for eye, part in zip((Eye.LEFT, Eye.RIGHT), share, strict=True)
    )
    return left, right


def view_size(height: int, width: int, layout: StereoLayout) -> tuple[int, int]:
    """Return height and width of one view of a map's size."""
    height, width = fit(height, width, MAX_VIEW_SIDE)
    match layout:
        case StereoLayout.SBS_HALF:
            return height, (width + 1) // 2
        case StereoLayout.TB_HALF:
            return (height + 1) // 2, width
        case _:
            return height, width


def _views(r: Rendering, *which: int) -> list[View]:
    """Return some views: `_LEFT` is for the left eye and `_RIGHT` for the right, but if they are swapped."""
    options = r.options.stereo
    rgb = resize_photo(r.photo.rgb, *view_size(*r.depth.shape, options.layout))
    eyes = viewpoints(options)[:: -1 if options.swap else 1]
    # The rims of snapped edges stay: at most 15 % of the range, they move by a fraction of a percent of the
    # width, which nobody sees. To remove them (scene.surface.relief) takes a third of a heatmap's time.
    with r.stopwatch.time(Stage.UPSAMPLE):
        nearness = r.nearness(*_map_size(*rgb.shape[:2]), options.edge_dilation)
        return [View(rgb, find_shifts(nearness, eyes[each]), eyes[each]) for each in which]


def _map_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, sqrt(_MAP_PIXELS / (height * width)))
    return max(1, round(scale * height)), max(1, round(scale * width))


def _one(view: View) -> Bands:
    """Yield bands of a view."""
    return _draw(*view.shape, view.draw)


def _beside(left: View, right: View) -> Bands:
    """Yield bands with one view left of the other."""
    height, width = left.shape

    def draw(top: int, into: Pixels) -> None:
        left.draw(top, into[:, :width])
        right.draw(top, into[:, width:])

    return _draw(height, 2 * width, draw)


def _mixed(left: View, right: View, colours: Anaglyph) -> Bands:
    """Yield bands of an anaglyph."""
    height, width = left.shape
    both = np.empty((2, STRIP_ROWS, width, 3), np.uint8)

    def draw(top: int, into: Pixels) -> None:
        one, other = both[:, : len(into)]
        left.draw(top, one)
        right.draw(top, other)
        into[:] = mix(one, other, colours)

    return _draw(height, width, draw)


def _draw(height: int, width: int, draw: Callable[[int, Pixels], None]) -> Bands:
    """Yield bands that `draw` fills strip by strip, given the first row of each."""
    band = np.empty((BAND_ROWS, width, 3), np.uint8)
    for top in range(0, height, BAND_ROWS):
        rows = min(BAND_ROWS, height - top)
        for first in range(0, rows, STRIP_ROWS):
            draw(top + first, band[first : min(first + STRIP_ROWS, rows)])
        yield band[:rows]


def _below(top: Bands, bottom: Bands, width: int) -> Bands:
    """Yield bands of one picture above another: none but the last is lower than `BAND_ROWS`."""
    band = np.empty((BAND_ROWS, width, 3), np.uint8)
    filled = 0
    for part in chain(top, bottom):
        first = part[: BAND_ROWS - filled]
        band[filled : filled + len(first)] = first
        filled += len(first)
        if filled == BAND_ROWS:
            yield band
            filled = len(part) - len(first)
            band[:filled] = part[len(first) :]
    if filled:
        yield band[:filled]


def _rgbd(r: Rendering) -> bytes:
    """Return the photo with its nearness, gray, to its right; nothing moves, so nothing is cut off."""
    rgb = resize_photo(r.photo.rgb, *view_size(*r.depth.shape, StereoLayout.RGBD))
    height, width = rgb.shape[:2]
    with r.stopwatch.time(Stage.UPSAMPLE):
        gray = _gray(r, height, width)
    return _encode(r, _beside_gray(rgb, gray), (height, 2 * width))


def _beside_gray(rgb: Pixels, gray: Pixels) -> Bands:
    for top in range(0, len(rgb), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        yield np.concatenate((rgb[rows], cv2.cvtColor(gray[rows], cv2.COLOR_GRAY2RGB)), axis=1)


def _gray(r: Rendering, height: int, width: int) -> Pixels:
    """Return `Rendering.nearness` in bytes, H x W; as floats, that of 200 megapixels has 800 MB."""
    depth = r.depth if r.depth.shape == (height, width) else resize(r.depth, height, width, Scratch())
    gray = np.full((height, width), 128, np.uint8)
    span = r.nearness_span(depth)
    if not is_flat(span):
        for top, strip in byte_strips(depth, span, Scratch()):
            gray[top : top + len(strip)] = strip
    return np.asarray(dilate(gray, r.options.stereo.edge_dilation), np.uint8)


def _encode(r: Rendering, bands: Bands, shape: tuple[int, int], subsampling: str = "420") -> bytes:
    """Return bands of a picture of a shape, H x W, as a JPEG."""
    jpeg = BandedJpeg(*shape, BAND_ROWS, subsampling)
    for band in r.stopwatch.time_each(Stage.COLOUR, bands):
        with r.stopwatch.time(Stage.ENCODE):
            jpeg.add_rgb(band)
    return jpeg.finish()
