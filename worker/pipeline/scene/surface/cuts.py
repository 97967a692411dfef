"""Cut a triangulated map along its steps, so that no triangle leads from a near thing to what is behind.

A side of a triangle is cut where the map steps on it. There it gets two vertices at one place in the picture:
one at the depth of either end. So both surfaces end on the same line, between the points of the map, and from
the camera's place nothing is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats
from worker.pipeline.scene.surface.triangulation import Indices

#: How far from an end of its side a cut is at least, as a share: triangles must have an area.
_LEAST_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A surface of triangles before the camera."""

    #: Where each vertex is in the picture, float32, n x 2: x, y from the top left, 0 to 1.
    places: Floats
    #: How near each vertex is, float32, n, as in Rendering.nearness.
    nearness: Floats
    #: Triangles, int32, m x 3, counterclockwise as the camera sees them.
    triangles: Indices


def sharpen(values: Floats, step: float) -> Floats:
    """Return a map whose steps have no ramp: each point takes the nearer of both extremes around it.

    This is the contrast enhancement of Kramer and Bruckner (Iterations of a Non-Linear Transformation for
    Enhancement of Digital Images, 1975), where the extremes differ by more than `step`.
    """
    around = np.ones((5, 5), np.uint8)
    low, high = cv2.erode(values, around), cv2.dilate(values, around)
    chosen = np.where(high - values < values - low, high, low)
    return np.asarray(np.where(high - low > step, chosen, values), np.float32)


def cut(triangles: Indices, sharp: Floats, smooth: Floats, step: float) -> Sheet:
    """Return the triangles, n x 3 points of a map, cut where neighbouring points differ by more than `step`.

    `sharp` holds the depth of every point. `smooth` is the same map with its ramps, which tell where between
    two points a step is.
    """
    a, b, c = (sharp.ravel()[triangles[:, corner]] for corner in range(3))
    steep = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c) > step
    cutter = _Cutter(sharp, smooth, triangles[steep], step)
    everything = np.concatenate([triangles[~steep], cutter.pieces()])
    return _sheet(everything, sharp, cutter.places(), cutter.values())


def _sheet(triangles: Indices, sharp: Floats, new_places: Floats, new_values: Floats) -> Sheet:
    """Return a sheet of the points of a map, and of new ones numbered after them, that triangles use."""
    height, width = sharp.shape
    used = np.zeros(sharp.size + new_values.size, np.bool_)
    used[triangles.ravel()] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    points = np.flatnonzero(used[: sharp.size])
    is_new = used[sharp.size :]
    rows, columns = np.divmod(points, width)
    places = np.concatenate([np.stack([columns, rows], axis=1), new_places[is_new]], dtype=np.float32)
    places /= np.array([width - 1, height - 1], np.float32)
    nearness = np.concatenate([sharp.ravel()[points], new_values[is_new]])
    return Sheet(places=places, nearness=nearness, triangles=number[triangles])


class _Cutter:
    """Cuts the triangles that a step may cross. New vertices are numbered after the points of the map."""

    def __init__(self, sharp: Floats, smooth: Floats, triangles: Indices, step: float) -> None:
        self._sharp, self._smooth, self._triangles = sharp, smooth, triangles
        ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2)
        vertices = self._cut_sides(ends.reshape(-1, 2), step).reshape(-1, 3)
        swapped = ends[..., 0] > ends[..., 1]
        # On the side after each corner: the vertex that belongs to this corner, and to the next one; or -1.
        self._own = np.where(vertices < 0, -1, vertices + swapped).astype(np.int32)
        self._next = np.where(vertices < 0, -1, vertices + ~swapped).astype(np.int32)
        self._in_three = np.flatnonzero((self._own >= 0).all(axis=1))

    def pieces(self) -> Indices:
        """Return the triangles in pieces."""
        counts = (self._own >= 0).sum(axis=1)
        whole = self._triangles[counts == 0]
        return np.concatenate([whole, self._slit(counts == 1), self._in_two(counts == 2), self._three()])

    def places(self) -> Floats:
        """Return the column and the row of each new vertex, n x 2."""
        first, second = self._points(self._first), self._points(self._second)
        on_sides = first + self._shares[:, np.newaxis] * (second - first)
        middles = self._points(self._triangles[self._in_three].ravel()).reshape(-1, 3, 2).mean(axis=1)
        return np.concatenate([on_sides.repeat(2, axis=0), middles.repeat(3, axis=0)], dtype=np.float32)

    def values(self) -> Floats:
        """Return the nearness of each new vertex."""
        on_sides = np.stack([self._first, self._second], axis=1).ravel()
        ends = np.concatenate([on_sides, self._triangles[self._in_three].ravel()])
        return np.asarray(self._sharp.ravel()[ends], np.float32)

    def _cut_sides(self, ends: Indices, step: float) -> NDArray[np.int64]:
        """Cut sides, n x 2, each maybe given twice; return the first of the two vertices on each, or -1.

        That one belongs to the end with the lower number, and the one after it to the other end.
        """
        size, values = self._sharp.size, self._sharp.ravel()
        rises = np.abs(values[ends[:, 0]] - values[ends[:, 1]]) > step
        keys = ends[rises].min(axis=1).astype(np.int64) * size + ends[rises].max(axis=1)
        sides, side_of = np.unique(keys, return_inverse=True)
        first, second = np.divmod(sides, size)
        shares, is_cut = self._find_steps(first, second, step)
        self._first, self._second, self._shares = first[is_cut], second[is_cut], shares[is_cut]
        vertices = np.full(rises.size, -1, np.int64)
        vertices[rises] = np.where(is_cut, size + 2 * (np.cumsum(is_cut) - 1), -1)[side_of]
        return vertices

    def _find_steps(
        self, first: NDArray[np.int64], second: NDArray[np.int64], step: float
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Return where on each side its largest step is, as a share of it, and whether it is one."""
        sharp = self._sharp.ravel()
        a, b = first, second
        begin, length = np.zeros(first.size, np.float32), np.ones(first.size, np.float32)
        # Go on with the half that rises more until its ends are neighbours.
        while (long := self._reach(a, b) > 1).any():
            middle = (a + b) >> 1
            in_second = np.abs(sharp[b] - sharp[middle]) > np.abs(sharp[middle] - sharp[a])
            length = np.where(long, length / 2, length)
            begin = np.where(long & in_second, begin + length, begin)
            a, b = np.where(long & in_second, middle, a), np.where(long & ~in_second, middle, b)
        within = _crossing(sharp[a], sharp[b], self._smooth.ravel()[a], self._smooth.ravel()[b])
        shares = np.clip(begin + length * within, _LEAST_SHARE, 1 - _LEAST_SHARE)
        return np.asarray(shares, np.float32), np.abs(sharp[a] - sharp[b]) > step

    def _reach(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows or columns, whichever are more, are between points."""
        width = self._sharp.shape[1]
        return np.asarray(np.maximum(np.abs(a // width - b // width), np.abs(a % width - b % width)))

    def _points(self, indices: NDArray[np.integer]) -> Floats:
        rows, columns = np.divmod(indices, self._sharp.shape[1])
        return np.stack([columns, rows], axis=1).astype(np.float32)

    def _turned(self, chosen: NDArray[np.bool_], first: NDArray[np.intp]) -> tuple[Indices, Indices, Indices]:
        """Return triangles, and the vertices on their sides, with `first` as the first corner, 3 x n each."""
        order = (first[:, np.newaxis] + np.arange(3)) % 3
        triangles, own, following = (
            np.take_along_axis(each[chosen], order, axis=1).T
            for each in (self._triangles, self._own, self._next)
        )
        return triangles, own, following

    def _slit(self, chosen: NDArray[np.bool_]) -> Indices:
        """Cut triangles where a step ends: from one side to the corner opposite."""
        (a, b, c), own, following = self._turned(chosen, np.argmax(self._own[chosen] >= 0, axis=1))
        return _rows([a, own[0], c], [following[0], b, c])

    def _in_two(self, chosen: NDArray[np.bool_]) -> Indices:
        """Cut one corner off from the other two."""
        # The side that is not cut is the one after the corner that follows the lone one.
        alone = (np.argmin(self._own[chosen] >= 0, axis=1) + 2) % 3
        (a, b, c), own, following = self._turned(chosen, alone)
        return _rows([a, own[0], following[2]], [following[0], b, c], [following[0], c, own[2]])

    def _three(self) -> Indices:
        """Cut all corners apart, at a vertex of their own in the middle for each."""
        chosen = self._in_three
        centres = self._sharp.size + 2 * self._first.size + 3 * np.arange(chosen.size, dtype=np.int32)
        pieces = []
        for corner in range(3):
            vertex, own = self._triangles[chosen, corner], self._own[chosen, corner]
            before = self._next[chosen, corner - 1]
            pieces += [[vertex, own, centres + corner], [vertex, centres + corner, before]]
        return _rows(*pieces)


def _crossing(sharp_a: Floats, sharp_b: Floats, smooth_a: Floats, smooth_b: Floats) -> Floats:
    """Return where between two neighbours the smooth map is half way between the sharp ones, 0 to 1."""
    rise = smooth_b - smooth_a
    rise = np.where(np.abs(rise) < 1e-6, np.float32(1e-6), rise)
    return np.clip(((sharp_a + sharp_b) / 2 - smooth_a) / rise, 0, 1)


def _rows(*triangles: list[Indices]) -> Indices:
    """Return triangles given by their corners as rows."""
    return np.concatenate([np.stack(each, axis=1) for each in triangles], dtype=np.int32)
