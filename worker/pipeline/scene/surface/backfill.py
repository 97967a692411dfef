"""What lies behind the cuts of a photo's surface: a second sheet, whose depth and colour are guessed.

Where a near thing ends, the surface behind it goes on under it. It is continued from its own side only: a
point is near or far by the step that is nearest to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.edges import shrink
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.fill import fill
from worker.pipeline.scene.surface.cuts import Sheet
from worker.pipeline.scene.surface.relief import STEP, Relief
from worker.pipeline.scene.surface.triangulation import Indices

#: How far the sheet reaches under a near thing, as a share of the picture's longer side.
_REACH = 0.08

#: Cells of the relief for a pixel of the colour, and for a vertex; a tile has 16 or more.
_PIXEL, _SPACING = 2, 4

#: The sheet has at most this share of all vertices.
_MOST = 0.25

#: A step counts only if it is at least this share of the largest one in a square of so many pixels.
_SHARE_OF_LARGEST, _RIDGE = 0.5, 21

#: Points by which the sheet reaches behind the surface that it continues.
_OVERLAP = 2


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """The second sheet and its colour."""

    sheet: Sheet
    #: RGB, h x w x 3, of the whole picture; only what the sheet shows is of use.
    colours: Pixels


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Which points of a relief are on the near side of the step nearest to them."""

    is_near: NDArray[np.bool_]
    #: How far away that step is, in points.
    away: Floats


def make_backfill(rgb: Pixels, relief: Relief, vertices: int) -> Backfill | None:
    """Return what lies behind the cuts of a photo, H x W x 3; None if it has none.

    The whole mesh may have `vertices`.
    """
    spacing = _spacing(relief, vertices)
    sides = _sides_of_steps(relief.sharp[::_PIXEL, ::_PIXEL])
    if sides is None:
        return None
    apart = spacing // _PIXEL
    is_near, away = sides.is_near[::apart, ::apart], sides.away[::apart, ::apart] / np.float32(apart)
    sheet = _sheet(_continue(relief.sharp, is_near, spacing), _covered(is_near, away))
    return Backfill(sheet=sheet, colours=_colours(rgb, sides.is_near)) if sheet.triangles.size else None


def _spacing(relief: Relief, vertices: int) -> int:
    """Return how many cells apart the vertices of the sheet are, a power of two."""
    spacing = _SPACING
    while spacing < relief.tile and relief.sharp[::spacing, ::spacing].size > _MOST * vertices:
        spacing *= 2
    return spacing


def _sides_of_steps(values: Floats) -> _Sides | None:
    """Tell the sides of the steps of a map; None if it has no step."""
    around = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(values, around), cv2.dilate(values, around)
    rises = high - low
    # A ridge often goes with an edge; it does not tell the sides of it.
    largest = cv2.dilate(rises, np.ones((_RIDGE, _RIDGE), np.uint8))
    steps = (rises > STEP) & (rises > _SHARE_OF_LARGEST * largest)
    if not steps.any():
        return None
    away, labels = cv2.distanceTransformWithLabels(
        (~steps).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    half_way = np.zeros(labels.max() + 1, np.float32)
    half_way[labels[steps]] = (low[steps] + high[steps]) / 2
    return _Sides(is_near=values > half_way[labels], away=np.asarray(away, np.float32))


def _continue(values: Floats, is_near: NDArray[np.bool_], spacing: int) -> Floats:
    """Return every so many points of a map without its near sides, nowhere nearer than the map."""
    around = np.ones((2 * spacing + 1, 2 * spacing + 1), np.uint8)
    farthest = np.asarray(cv2.erode(values, around), np.float32)[::spacing, ::spacing]
    return np.minimum(fill(values[::spacing, ::spacing], ~is_near), farthest)


def _covered(is_near: NDArray[np.bool_], away: Floats) -> NDArray[np.bool_]:
    """Return at which points the sheet is: under near things and a little beyond their edges."""
    reach = _REACH * (max(away.shape) - 1)
    under = (is_near & (away <= reach)).astype(np.uint8)
    return cv2.dilate(under, np.ones((2 * _OVERLAP + 1, 2 * _OVERLAP + 1), np.uint8)) > 0


def _sheet(nearness: Floats, covered: NDArray[np.bool_]) -> Sheet:
    """Return the covered squares of a map as a sheet."""
    height, width = nearness.shape
    points = np.arange(nearness.size, dtype=np.int32).reshape(nearness.shape)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]
    whole = covered[:-1, :-1] & covered[:-1, 1:] & covered[1:, :-1] & covered[1:, 1:]
    halves = [np.stack([each[whole] for each in half], axis=1) for half in ((a, c, b), (d, b, c))]
    triangles = np.concatenate(halves)
    used, numbers = _renumber(triangles, nearness.size)
    rows, columns = np.divmod(used, width)
    places = np.stack([columns / np.float32(width - 1), rows / np.float32(height - 1)], axis=1)
    return Sheet(
        places=places.astype(np.float32), nearness=nearness.ravel()[used], triangles=numbers[triangles]
    )


def _renumber(triangles: Indices, count: int) -> tuple[NDArray[np.intp], Indices]:
    """Return which of `count` points triangles use, and the number of each among those."""
    used = np.zeros(count, np.bool_)
    used[triangles.ravel()] = True
    return np.flatnonzero(used), np.cumsum(used, dtype=np.int32) - np.int32(1)


def _colours(rgb: Pixels, is_near: NDArray[np.bool_]) -> Pixels:
    """Return a small picture without near things. `is_near` tells it of the corners of its pixels."""
    height, width = is_near.shape[0] - 1, is_near.shape[1] - 1
    small = shrink(rgb, height, width).astype(np.float32)
    # A pixel at an edge has colours of both sides, and so may its neighbours.
    mixed = cv2.dilate(is_near.astype(np.uint8), np.ones((6, 6), np.uint8), anchor=(2, 2))[:-1, :-1]
    return np.asarray(np.rint(np.clip(fill(small, mixed == 0), 0, 255)), np.uint8)
