"""The surface that a photo shows: a sheet of triangles, more of them where depth changes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worker.model.preprocess import LONG_SIDE
from worker.pipeline.photo import Floats
from worker.pipeline.scene.surface.cuts import Sheet, cut, sharpen
from worker.pipeline.scene.surface.triangulation import Indices, errors_of, triangulate

#: Neighbours whose nearness differs by more than this are on different surfaces.
STEP = 0.1

#: The longer side of the map in cells: it knows no finer detail, as it comes from 256 pixels, and its edges
#: from three times as many.
_CELLS = 1024

#: The side of the largest square, in cells.
_TILE = 16

#: Vertices for each corner of a tile if its two triangles and its three sides are all cut.
_MOST_FOR_A_CORNER = 1 + 3 * 2 + 2 * 3

#: An error of fewer cells is not seen: it is less than half a pixel of a picture of 4000.
_TOLERANCE = 0.1

#: By how much of the longer side the picture of the nearest point moves against that of the farthest, in the
#: views that errors are judged by.
_PARALLAX = 0.05

#: The width of a rim, in pixels of the prediction, and its rise, as a share of the step beside it.
_RIM, _RISE_OF_RIM = 5.0, np.float32(0.3)

#: What protrudes by less is no rim.
_LEAST_RIDGE = np.float32(0.01)

#: The share of the vertices that is tried again when cuts brought more than expected.
_LESS = 0.9


@dataclass(frozen=True, kw_only=True)
class Relief:
    """A map at the corners of cells, (h + 1) x (w + 1), which are in tiles."""

    #: Its steps have no ramp.
    sharp: Floats
    #: Its steps are ramps of a cell or two.
    smooth: Floats
    #: The side of the largest square, in cells; a power of two.
    tile: int


def cells_of(height: int, width: int, vertices: int) -> tuple[int, int, int]:
    """Return how many rows and columns of cells a map for so many vertices has, and the side of a tile."""
    tile, cells = _TILE, min(_CELLS, max(height, width))
    while _MOST_FOR_A_CORNER * (cells // tile + 1) ** 2 > vertices:
        tile *= 2
    rows, columns = (max(1, round(cells * side / max(height, width) / tile)) for side in (height, width))
    return rows * tile, columns * tile, tile


def make_relief(cells: Floats, tile: int, dilation: float = 0.0) -> Relief:
    """Return the relief of a map, h x w, whose values are those of the middles of cells.

    `dilation` tells by how many pixels of the prediction near things are wider in it than they are.
    """
    padded = np.pad(without_rims(cells, dilation), 1, mode="edge")
    smooth = padded[:-1] + padded[1:]
    smooth = (smooth[:, :-1] + smooth[:, 1:]) * np.float32(0.25)
    return Relief(sharp=sharpen(smooth, STEP), smooth=smooth, tile=tile)


def without_rims(cells: Floats, dilation: float = 0.0) -> Floats:
    """Return a map, h x w, without the narrow rims by which near things rise towards their edges.

    They come with snapped edges. Each would be cut off from the thing that it belongs to, as a splinter.
    """
    width = (_RIM + 2 * dilation) / LONG_SIDE * max(cells.shape)
    size = 2 * round(width / 2) + 1
    around = np.ones((size, size), np.uint8)
    low = cv2.erode(cells, around)
    opened, high = cv2.dilate(low, around), cv2.dilate(cells, around)
    # The step is within twice as far from all of its rim.
    step = cv2.dilate(high, around) - cv2.erode(low, around)
    ridge = cells - opened
    protrudes = (ridge > _LEAST_RIDGE).astype(np.float32)
    rim = np.where(ridge < _RISE_OF_RIM * step, ridge, np.float32(0))
    rim *= protrudes
    # A thing's tip is all ridge, and no rim. It is lowered with the rim beside it, or it would be cut off.
    mean = cv2.blur(rim, around.shape) / np.maximum(cv2.blur(protrudes, around.shape), _LEAST_RIDGE)
    return np.asarray(cells - protrudes * np.minimum(mean, ridge), np.float32)


def make_sheet(relief: Relief, ratio: float, vertices: int) -> Sheet:
    """Return a sheet of at most so many vertices.

    `ratio` is how many times as far away as the nearest point the farthest one is.
    """
    errors = _errors(relief, ratio)
    wanted = vertices
    while True:
        triangles = triangulate(errors, relief.tile, _limit(relief, errors, wanted))
        sheet = cut(triangles, relief.sharp, relief.smooth, STEP)
        if sheet.nearness.size <= vertices:
            return sheet
        wanted = int(wanted * _LESS * vertices / sheet.nearness.size)


def _errors(relief: Relief, ratio: float) -> Floats:
    """Return the error of leaving out each point, in cells.

    There are two. Seen from elsewhere, the surface is not where it should be: inverse distance is linear on a
    plane. And the photo slides on the surface, for on a triangle that is not parallel to the picture, it is
    not linear in space: half way between pixels at distances z and Z, it shows one that is
    |z - Z| / (z + Z) of the way from the middle to an end.
    """
    farthest = np.float32(2 / (ratio - 1))
    cells = max(relief.sharp.shape) - 1

    def error_of(a: Floats, b: Floats, middle: Floats, length: float) -> Floats:
        both = a + b
        moved = np.abs(middle - both / 2)
        moved *= np.float32(_PARALLAX * cells)
        both += farthest
        rise = np.abs(a - b)
        slid = rise * np.float32(length / 2)
        slid /= both
        # A side that rises as a step does is halved until it is clear whether it is one.
        rise += np.float32(_TOLERANCE)
        np.copyto(slid, rise, where=rise > np.float32(STEP + _TOLERANCE))
        return np.asarray(np.maximum(moved, slid), np.float32)

    return errors_of(relief.sharp, relief.tile, error_of)


def _limit(relief: Relief, errors: Floats, vertices: int) -> float:
    """Return which error the points for so many vertices exceed."""
    seen = np.flatnonzero(errors.ravel() > _TOLERANCE)
    weights = 1 + 2 * _sides_cut(relief.sharp).ravel()[seen]
    left = max(vertices - _corners(relief), 0)
    if weights.sum() <= left:
        return _TOLERANCE
    largest = np.argsort(-errors.ravel()[seen], kind="stable")
    first_left_out = int(np.searchsorted(np.cumsum(weights[largest]), left, side="right"))
    return float(errors.ravel()[seen[largest[first_left_out]]])


def _corners(relief: Relief) -> int:
    """Return the number of corners of tiles."""
    height, width = relief.sharp.shape
    return int(((height - 1) // relief.tile + 1) * ((width - 1) // relief.tile + 1))


def _sides_cut(sharp: Floats) -> Indices:
    """Return on how many of the sides to its right, below it and between both a step begins at a point."""
    count = np.zeros(sharp.shape, np.int32)
    count[:, :-1] += np.abs(sharp[:, 1:] - sharp[:, :-1]) > STEP
    count[:-1] += np.abs(sharp[1:] - sharp[:-1]) > STEP
    count[:-1, :-1] += np.abs(sharp[1:, 1:] - sharp[:-1, :-1]) > STEP
    return count
