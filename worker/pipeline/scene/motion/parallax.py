"""Frames of a scene seen by a moving camera: what is near moves more, and what it uncovers was filled in.

A frame is sampled backward. Each of its pixels first learns how near the surface is that it shows: the map is
splatted forward at a third of its size, the nearest last. From there, two steps of a fixed point, at half and
at full size, find the place in the photo. Where something nearer stands at that place, the pixel was covered
in the photo. It is taken from a second picture then, in which what is near was removed. What is done at full
size is done strip by strip, in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.motion.path import Shift

Indices: TypeAlias = NDArray[np.int32]
Values = TypeVar("Values", Floats, Pixels)

#: Nearness by which something must stand before a place to cover it, and to cover all of it. In between, the
#: two pictures are mixed: a threshold would flicker.
_COVERS, _COVERS_ALL = 0.04, 0.08
#: Pixels of a frame for each pixel of the splatted map, in each direction.
_SPLAT = 3
#: What no nearness is, on either side.
_NOTHING, _FAR = np.float32(-9), np.float32(9)
#: The largest gap, in its own pixels, that is closed in the splatted map.
_WIDEST_GAP = 64
#: A pixel and those beside it.
_AROUND = np.ones((3, 3), np.uint8)
#: Rows of a frame that are done at once, an even number.
_STRIP = 64
#: OpenCV's bound on the sides of a map.
_MOST = 32_000


@dataclass(frozen=True)
class Planes:
    """A picture as Y'CbCr, uint8: y is h x w, u and v are h/2 x w/2. Both sides are even."""

    y: Pixels
    u: Pixels
    v: Pixels


class MovingScene:
    """Renders the frames of one photo. A frame is valid until the next one is rendered."""

    def __init__(self, front: Planes, back: Planes, nearness: Floats, *, focus: float, margin: float) -> None:
        """Take a picture, the same without what is near, and the nearness, h x w, 0 to 1.

        Points as near as `focus` stay where they are. Each side of the picture loses `margin`, a share of
        that side, and the rest is enlarged, so that no frame shows what lies beyond the border.
        """
        self._front, self._back = front, back
        beyond = nearness - np.float32(focus)
        height, width = nearness.shape
        small = np.empty((height // 2, width // 2), np.float32)
        _halve(beyond, small)
        scale = 1 - 2 * margin
        self._splat = _Splat(beyond, scale)
        self._half = _Grid(small, 0.5, scale, height // 2)
        self._whole = _Grid(beyond, 1.0, scale, min(_STRIP, height))
        self._seen, self._x, self._y = (np.empty_like(small) for _ in range(3))
        self._planes = Planes(*(np.empty_like(plane) for plane in (front.y, front.u, front.v)))

    def frame(self, shift: Shift) -> Planes:
        """Return the picture after a shift."""
        seen = _enlarge(self._splat.seen(shift), self._seen)
        self._half.refine(seen, 0, shift)
        # The near sides become a pixel wider: what is too near is corrected later.
        seen = np.asarray(cv2.dilate(seen, _AROUND), np.float32)
        for first, after in self._strips():
            self._render_strip(seen[first // 2 : after // 2], first, shift)
        places = self._x, self._y
        covered = _find_covered(self._seen, self._half.look_up(places))
        for name in ("y", "u", "v"):
            _uncover(covered, getattr(self._back, name), places, getattr(self._planes, name))
        return self._planes

    def _strips(self) -> Iterator[tuple[int, int]]:
        height = len(self._planes.y)
        for first in range(0, height, _STRIP):
            yield first, min(first + _STRIP, height)

    def _render_strip(self, seen: Floats, first: int, shift: Shift) -> None:
        """Sample the front of a strip. Keep what is seen there and its places, at half the size."""
        half, whole = slice(first // 2, first // 2 + len(seen)), slice(first, first + 2 * len(seen))
        wide = _enlarge(seen, self._whole.buffer(2 * len(seen)))
        self._whole.refine(wide, first, shift)
        x, y = self._whole.find_places(wide, first, shift)
        _sample(self._front.y, (x, y), self._planes.y[whole])
        _halve(wide, self._seen[half])
        places = self._x[half], self._y[half]
        for place, into in zip((x, y), places, strict=True):
            _halve(place, into)
            into *= np.float32(0.5)
            into -= np.float32(0.25)
        _sample(self._front.u, places, self._planes.u[half])
        _sample(self._front.v, places, self._planes.v[half])


class _Grid:
    """The nearness of a photo at one size, and how its pixels are found from those of a frame.

    A pixel of the photo has `unit` pixels of the grid. Strips have at most `most` rows.
    """

    def __init__(self, beyond: Floats, unit: float, scale: float, most: int) -> None:
        self._beyond, self._unit = beyond, unit
        height, width = beyond.shape
        self._centre = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
        self._columns = _from_middle(width, scale)[np.newaxis]
        self._rows = _from_middle(height, scale)[:, np.newaxis]
        self._buffers: list[Floats] = [np.empty((most, width), np.float32) for _ in range(4)]

    def buffer(self, rows: int) -> Floats:
        """Return a buffer for what is seen in a strip."""
        return self._buffers[0][:rows]

    def refine(self, seen: Floats, first: int, shift: Shift) -> None:
        """Correct what the strip from the row `first` shows by what is at its place in the photo."""
        step = self.look_up(self.find_places(seen, first, shift))
        step -= seen
        # Something nearer than what is seen covers it: the place is right as it is.
        cv2.threshold(step, _COVERS_ALL, 0, cv2.THRESH_TOZERO_INV, dst=step)
        seen += step

    def look_up(self, places: tuple[Floats, Floats]) -> Floats:
        """Return the nearness beyond the focus at places in the photo, until the next call."""
        return _sample(self._beyond, places, self._buffers[1][: len(places[0])])

    def find_places(self, seen: Floats, first: int, shift: Shift) -> tuple[Floats, Floats]:
        """Return where in the photo the pixels of a strip are, by what is seen there, until the next call."""
        x, y = (buffer[: len(seen)] for buffer in self._buffers[2:])
        rows = self._rows[first : first + len(seen)]
        grow = np.float32(shift.forward) * seen + np.float32(1 + shift.zoom) if shift.grows else None
        ways = (self._columns, shift.across, self._centre[0], x), (rows, shift.down, self._centre[1], y)
        for offset, along, centre, into in ways:
            start = offset if grow is not None else offset + centre
            if along:
                np.multiply(seen, np.float32(-along * self._unit), out=into)
                into += start
            else:
                into[:] = start
            if grow is not None:
                into /= grow
                into += centre
        return x, y


class _Splat:
    """Finds which surface each pixel of a frame shows, at a third of the size."""

    def __init__(self, beyond: Floats, scale: float) -> None:
        height, width = beyond.shape
        self._height, self._width = max(1, height // _SPLAT), max(1, width // _SPLAT)
        # The nearest of each few pixels: what is wrongly near is corrected later, what is lost is not.
        most = cv2.dilate(beyond, np.ones((_SPLAT, _SPLAT), np.uint8))
        size = self._width, self._height
        small = np.asarray(cv2.resize(most, size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
        # The nearest last: where several pixels fall on one, NumPy keeps the last.
        order = np.argsort(small, axis=None, kind="stable")
        rows, columns = np.divmod(order, self._width)
        self._beyond: Floats = small.ravel()[order]
        self._x = _from_middle(self._width, 1 / scale)[columns]
        self._y = _from_middle(self._height, 1 / scale)[rows]
        self._units = self._width / width / scale, self._height / height / scale

    def seen(self, shift: Shift) -> Floats:
        """Return the nearness beyond the focus of what each pixel shows."""
        x = np.float32(shift.across * self._units[0]) * self._beyond
        y = np.float32(shift.down * self._units[1]) * self._beyond
        grow = np.float32(shift.forward) * self._beyond + np.float32(1 + shift.zoom) if shift.grows else None
        x += self._x if grow is None else self._x * grow
        y += self._y if grow is None else self._y * grow
        seen = np.full((self._height, self._width), _NOTHING, np.float32)
        places = _to_indices(y, self._height) * np.int32(self._width) + _to_indices(x, self._width)
        seen.ravel()[places] = self._beyond
        return _close_gaps(seen)


def _from_middle(count: int, scale: float) -> Floats:
    return ((np.arange(count) - (count - 1) / 2) * scale).astype(np.float32)


def _to_indices(offset: Floats, count: int) -> NDArray[np.int32]:
    """Return the pixels at offsets from the middle; those beyond the border are the last ones."""
    offset += np.float32(count / 2)
    return np.clip(offset, 0, count - 1, out=offset).astype(np.int32)


def _close_gaps(seen: Floats) -> Floats:
    """Fill the pixels on which nothing fell from the farther side, the narrowest gaps first."""
    side = 3
    while side <= _WIDEST_GAP and seen.min() <= _NOTHING:
        missing = seen <= _NOTHING
        far = cv2.erode(np.where(missing, _FAR, seen), np.ones((side, side), np.uint8))
        np.copyto(seen, far, where=missing & (far < _FAR))
        side = 2 * side + 1
    return np.maximum(seen, -1, out=seen)


def _find_covered(seen: Floats, there: Floats) -> Pixels:
    """Return by how much each pixel was covered in the photo, uint8: by what is nearer `there` than seen."""
    there -= seen
    there -= np.float32(_COVERS)
    there *= np.float32(255 / (_COVERS_ALL - _COVERS))
    covered = np.clip(there, 0, 255, out=there).astype(np.uint8)
    # The ramp of an edge has colours of its near side, so what is beside it is taken from behind too, and
    # specks are closed. The near side itself keeps its pixels.
    is_far = seen - cv2.erode(seen, _AROUND) < np.float32(_COVERS)
    np.copyto(covered, cv2.dilate(covered, _AROUND), where=is_far)
    return covered


def _uncover(covered: Pixels, back: Pixels, places: tuple[Floats, Floats], into: Pixels) -> None:
    """Take what is covered from the plane behind. The plane may have twice the size of the rest."""
    found = cv2.findNonZero(covered)
    if found is None:
        return
    columns, rows = np.asarray(found, np.int32).reshape(-1, 2).T
    x, y = (place[rows, columns] for place in places)
    if into.shape == covered.shape:
        _mix(back, (x, y), (rows, columns), covered, into)
        return
    fine = np.asarray(cv2.resize(covered, into.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = 2 * rows + down, 2 * columns + right
        _mix(back, (2 * x + right, 2 * y + down), at, fine, into)


def _mix(
    back: Pixels,
    places: tuple[Floats, Floats],
    at: tuple[Indices, Indices],
    covered: Pixels,
    into: Pixels,
) -> None:
    """Mix what is behind into some pixels, at these places in the photo, by how much each is covered."""
    front, share = into[at].astype(np.float32), covered[at] * np.float32(1 / 255)
    front += (_sample_points(back, places) - front) * share
    into[at] = cv2.convertScaleAbs(front).ravel()


def _sample_points(values: Pixels, places: tuple[Floats, Floats]) -> Pixels:
    found = np.empty(len(places[0]), np.uint8)
    for first in range(0, len(found), _MOST):
        part = slice(first, first + _MOST)
        x, y = (place[part, np.newaxis] for place in places)
        _sample(values, (x, y), found[part, np.newaxis])
    return found


def _sample(values: Values, places: tuple[Floats, Floats], into: Values) -> Values:
    """Sample a plane at places in it."""
    cv2.remap(values, *places, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)
    return into


def _enlarge(seen: Floats, into: Floats) -> Floats:
    """Enlarge what is seen. Between near and far, the steps lead astray, so nothing is interpolated."""
    cv2.resize(seen, into.shape[::-1], dst=into, interpolation=cv2.INTER_NEAREST)
    return into


def _halve(values: Floats, into: Floats) -> None:
    cv2.resize(values, into.shape[::-1], dst=into, interpolation=cv2.INTER_AREA)
