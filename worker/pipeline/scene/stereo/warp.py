"""See a photo from beside where it was taken: find which of its pixels each pixel of the new view shows.

Points move along rows only, the nearer the farther. A forward pass moves the map and keeps the nearest point
at each place. What comes into sight behind near things is continued from the far side alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import ceil

import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats

#: Rows of a map that are moved at a time: they stay in the processor's cache.
_MAP_ROWS = 32

#: Between neighbours of the map that come to lie so many times as far apart, no surface is assumed: what lies
#: behind comes into sight.
_TEAR = 3.0

#: The continuation of a background may be nearer than where it began by this shift, in pixels of the map.
_BACKGROUND = 1.0


class Eye(IntEnum):
    """The value is the way in which near points move, along x."""

    LEFT = 1
    RIGHT = -1


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """An eye, and how far points move for it. Lengths are shares of the photo's width."""

    eye: Eye
    #: How much farther the nearest point moves than the farthest.
    travel: float
    #: The nearness, 0 to 1, of points that stay where they are.
    convergence: float
    #: What is cut off along each side, of the width and of the height; the rest is scaled up.
    margin: float

    @property
    def kept(self) -> float:
        """The share of width and height that a view shows."""
        return 1 - 2 * self.margin


def find_shifts(nearness: Floats, viewpoint: Viewpoint) -> Floats:
    """Return where each pixel of a view is in the photo, float32, h x w, in pixels of the map.

    The shift counts from where the pixel would be if nothing moved: column `source_of(x)`. `nearness`,
    float32, h x w, is that of the photo, 0 to 1; the view has the same size.
    """
    height, width = nearness.shape
    if viewpoint.travel == 0:
        return np.zeros((height, width), np.float32)
    rows = np.rint(source_of(np.arange(height), height, viewpoint)).astype(np.intp)
    shifts = np.empty((height, width), np.float32)
    for top in range(0, height, _MAP_ROWS):
        part = slice(top, top + _MAP_ROWS)
        # One eye's geometry is the other's in a mirror.
        across = slice(None, None, -1 if viewpoint.eye is Eye.LEFT else 1)
        moved = _move(nearness[rows[part], across], viewpoint)
        shifts[part] = moved[:, across] * -viewpoint.eye
    return shifts


def source_of(place: NDArray[np.intp], size: int, viewpoint: Viewpoint) -> NDArray[np.float64]:
    """Return where a view's pixels, along a side of `size`, are in the photo if nothing moves."""
    source = (place + 0.5) * viewpoint.kept + viewpoint.margin * size - 0.5
    return np.asarray(source, np.float64)


def _move(nearness: Floats, viewpoint: Viewpoint) -> Floats:
    """Return `find_shifts` for some rows and the right eye, which sees near points farther left."""
    count, width = nearness.shape
    travel, kept = viewpoint.travel * width, viewpoint.kept
    columns = np.arange(width + 1, dtype=np.float32)
    left = nearness * np.float32(travel) - np.float32(travel * viewpoint.convergence)
    # Where the view shows each point. One more column ends the last surface.
    place = np.empty((count, width + 1), np.float32)
    np.subtract(columns[:-1], left, out=place[:, :-1])
    place[:, -1] = place[:, -2] + 1
    place += np.float32(0.5 - viewpoint.margin * width)
    place *= np.float32(1 / kept)
    place -= np.float32(0.5)
    sources = _splat(place, np.float32(_TEAR / kept))
    _fill_holes(sources, left, viewpoint)
    sources -= source_of(np.arange(width), width, viewpoint).astype(np.float32)
    return sources


def _splat(place: Floats, tear: np.float32) -> Floats:
    """Return which column is nearest at each place, n x w, -1 at none; between columns, it is interpolated.

    Of the points that one place shows, the last one in the row is the nearest, as the nearer moved farther to
    the left. So it is enough to write them in order (McMillan and Bishop, Plenoptic Modeling, 1995).
    """
    count, width = place.shape[0], place.shape[1] - 1
    start, gap = place[:, :-1], place[:, 1:] - place[:, :-1]
    first = np.ceil(start)
    offset = first - start
    joined = (gap > 0) & (gap < tear)
    seen = joined & (offset < gap) & (first >= 0) & (first < width)
    column = offset / np.maximum(gap, np.float32(1e-6))
    column += np.arange(width, dtype=np.float32)
    # What is not seen goes into a column of its own. To 64 bits, whole numbers are converted much faster.
    at = np.where(seen, first, np.float32(width)).astype(np.int32).astype(np.intp)
    at += np.arange(count)[:, np.newaxis] * (width + 1)
    sources = np.full((count, width + 1), -1, np.float32)
    sources.ravel()[at.ravel()] = column.ravel()
    _cover_stretched(sources, joined & (offset + 1 < gap), first, offset, gap)
    _cover_ends(sources, joined, start)
    return sources[:, :-1]


def _cover_stretched(
    sources: Floats, wide: NDArray[np.bool_], first: Floats, offset: Floats, gap: Floats
) -> None:
    """Add the places after the first that a stretched surface covers, or what lies behind shows through."""
    row, column = _places(wide)
    first, offset, gap = first[row, column], offset[row, column], gap[row, column]
    for more in range(1, ceil(_TEAR) + 1):
        some = (offset + more < gap) & (first + more >= 0) & (first + more < sources.shape[1] - 1)
        source = ((offset + more) / gap + column)[some].astype(np.float32)
        np.maximum.at(sources, (row[some], (first[some] + more).astype(np.intp)), source)


def _cover_ends(sources: Floats, joined: NDArray[np.bool_], start: Floats) -> None:
    """Add the places within half a pixel of where surfaces end; a point that belongs to none is left out."""
    row, column = _places(joined[:, 1:] != joined[:, :-1])
    place = np.rint(start[row, column + 1])
    some = (place >= 0) & (place < sources.shape[1] - 1)
    source = (column[some] + 1).astype(np.float32)
    np.maximum.at(sources, (row[some], place[some].astype(np.intp)), source)


def _places(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of what is true: as `np.nonzero`, but faster where little is."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


@dataclass(frozen=True, kw_only=True)
class _Holes:
    """Pixels of holes, one array each: row, column, and the two seen columns around the hole."""

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    #: -1 if there is none.
    before: NDArray[np.intp]
    #: The width of the view if there is none.
    after: NDArray[np.intp]


def _find_holes(sources: Floats) -> _Holes:
    row, column = _places(sources < 0)
    new = np.ones(len(row) + 1, np.bool_)
    new[1:-1] = (np.diff(column) != 1) | (np.diff(row) != 0)
    starts = np.flatnonzero(new)
    lengths = np.diff(starts)
    first = column[starts[:-1]]
    return _Holes(
        row=row,
        column=column,
        before=np.repeat(first - 1, lengths),
        after=np.repeat(first + lengths, lengths),
    )


def _fill_holes(sources: Floats, left: Floats, viewpoint: Viewpoint) -> None:
    """Replace -1 by columns beside those around it; `left` is how far each column moved."""
    holes = _find_holes(sources)
    if not len(holes.row):
        return
    width, kept = sources.shape[1], np.float32(viewpoint.kept)
    before = sources[holes.row, np.maximum(holes.before, 0)]
    after = sources[holes.row, np.minimum(holes.after, width - 1)]
    # At a border, the only neighbour serves for both; a row without any shows where nothing moved.
    before = np.where(holes.before < 0, after, before)
    after = np.where(holes.after >= width, before, after)
    filled = _continue_background(holes, before, after, left, kept)
    rest = source_of(holes.column, width, viewpoint).astype(np.float32)
    sources[holes.row, holes.column] = np.clip(np.where(before < 0, rest, filled), 0, width - 1)


def _continue_background(
    holes: _Holes, before: Floats, after: Floats, left: Floats, kept: np.float32
) -> Floats:
    """Return the far side of each hole, mirrored into it; where that meets something near, its last pixel."""
    width = left.shape[1]
    moved_before, moved_after = _at(left, holes.row, before), _at(left, holes.row, after)
    is_after = (moved_after <= moved_before) & (holes.after < width) | (holes.before < 0)
    edge = np.where(is_after, after, before)
    away = np.where(is_after, holes.after - holes.column, holes.before - holes.column).astype(np.float32)
    mirrored = np.clip(edge + away * kept, 0, width - 1)
    moved = np.where(is_after, moved_after, moved_before)
    is_far = _at(left, holes.row, mirrored) <= moved + np.float32(_BACKGROUND)
    return np.where(is_far, mirrored, edge)


def _at(values: Floats, row: NDArray[np.intp], column: Floats) -> Floats:
    """Return the values nearest to some columns."""
    return values[row, np.clip(np.rint(column), 0, values.shape[1] - 1).astype(np.intp)]
