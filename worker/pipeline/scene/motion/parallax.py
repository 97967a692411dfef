"""Frames of a scene seen by a moving camera: what is near moves more, and what it uncovers was filled in.

A frame is sampled backward. Each of its pixels first learns how near the surface is that it shows: the map is
splatted forward at half its size, the nearest last. From there, two steps of a fixed point at full size find
the place in the photo. Where something nearer stands at that place, the pixel was covered in the photo. It
is taken from a second picture then, in which what is near was removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.motion.path import Shift

#: Nearness by which something must stand before a place to cover it.
_COVERS = 0.06
#: What no nearness is, on either side.
_NOTHING, _FAR = np.float32(-9), np.float32(9)
#: The largest gap, in pixels of half the size, that is closed in the splatted map.
_WIDEST_GAP = 64
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
        self._beyond = nearness - np.float32(focus)
        height, width = nearness.shape
        self._size = width, height
        self._centre = (width - 1) / 2, (height - 1) / 2
        self._scale = 1 - 2 * margin
        self._columns = _from_middle(width, self._scale)[np.newaxis]
        self._rows = _from_middle(height, self._scale)[:, np.newaxis]
        self._splat = _Splat(self._beyond, self._scale)
        self._floats = [np.empty((height, width), np.float32) for _ in range(4)]
        self._halves = [np.empty((height // 2, width // 2), np.float32) for _ in range(2)]
        self._planes = Planes(*(np.empty_like(plane) for plane in (front.y, front.u, front.v)))

    def frame(self, shift: Shift) -> Planes:
        """Return the picture after a shift."""
        x, y, covered = self._find_sources(shift)
        _sample(self._front.y, self._back.y, (x, y), covered, self._planes.y)
        half_x, half_y = (_halve(place, into) for place, into in zip((x, y), self._halves, strict=True))
        half_covered: Pixels = covered[::2, ::2].copy()
        for name in ("u", "v"):
            front, back, into = (getattr(each, name) for each in (self._front, self._back, self._planes))
            _sample(front, back, (half_x, half_y), half_covered, into)
        return self._planes

    def _find_sources(self, shift: Shift) -> tuple[Floats, Floats, Pixels]:
        """Return where in the photo each pixel of a frame is, and, as 1, whether it is covered there."""
        seen, there, x, y = self._floats
        cv2.resize(self._splat.seen(shift), self._size, dst=seen, interpolation=cv2.INTER_LINEAR)
        self._invert(seen, shift, x, y)
        self._look_up(x, y, there)
        # Something nearer than what is seen covers it: the place is right as it is.
        seen += np.float32(_COVERS)
        np.minimum(there, seen, out=seen)
        self._invert(seen, shift, x, y)
        self._look_up(x, y, there)
        there -= seen
        return x, y, (there > np.float32(_COVERS)).view(np.uint8)

    def _invert(self, beyond: Floats, shift: Shift, x: Floats, y: Floats) -> None:
        """Compute where in the photo each pixel of a frame is, if it shows points `beyond` the focus."""
        ways = (
            (self._columns, shift.across, self._centre[0], x),
            (self._rows, shift.down, self._centre[1], y),
        )
        grow = np.float32(shift.forward) * beyond + np.float32(1 + shift.zoom) if shift.grows else None
        for offset, along, centre, into in ways:
            np.multiply(beyond, np.float32(-along), out=into)
            into += offset if grow is not None else offset + np.float32(centre)
            if grow is not None:
                into /= grow
                into += np.float32(centre)

    def _look_up(self, x: Floats, y: Floats, into: Floats) -> None:
        cv2.remap(self._beyond, x, y, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)


class _Splat:
    """Finds which surface each pixel of a frame shows, at half the size."""

    def __init__(self, beyond: Floats, scale: float) -> None:
        self._height, self._width = height, width = beyond.shape[0] // 2, beyond.shape[1] // 2
        small = np.asarray(cv2.resize(beyond, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        # The nearest last: where several pixels fall on one, NumPy keeps the last.
        order = np.argsort(small, axis=None, kind="stable")
        rows, columns = np.divmod(order, width)
        self._beyond: Floats = small.ravel()[order]
        self._x = _from_middle(width, 1 / scale)[columns]
        self._y = _from_middle(height, 1 / scale)[rows]
        self._half = np.float32(0.5 / scale)

    def seen(self, shift: Shift) -> Floats:
        """Return the nearness beyond the focus of what each pixel shows; near sides are a pixel wider."""
        x = np.float32(shift.across * self._half) * self._beyond
        y = np.float32(shift.down * self._half) * self._beyond
        grow = np.float32(shift.forward) * self._beyond + np.float32(1 + shift.zoom) if shift.grows else 1
        x += self._x * grow
        y += self._y * grow
        seen = np.full((self._height, self._width), _NOTHING, np.float32)
        seen[_to_indices(y, self._height), _to_indices(x, self._width)] = self._beyond
        return np.asarray(cv2.dilate(_close_gaps(seen), np.ones((3, 3), np.uint8)), np.float32)


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


def _sample(
    front: Pixels, back: Pixels, places: tuple[Floats, Floats], covered: Pixels, into: Pixels
) -> None:
    """Sample a plane of the photo, and what is covered there from the plane behind it."""
    cv2.remap(front, *places, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)
    points = cv2.findNonZero(covered)
    if points is None:
        return
    columns, rows = points.reshape(-1, 2).T
    for first in range(0, len(rows), _MOST):
        at = rows[first : first + _MOST], columns[first : first + _MOST]
        x, y = (place[at][:, np.newaxis] for place in places)
        into[at] = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).ravel()


def _halve(places: Floats, into: Floats) -> Floats:
    """Return places in a picture of half the size, for each two by two pixels."""
    cv2.resize(places, into.shape[::-1], dst=into, interpolation=cv2.INTER_AREA)
    into *= np.float32(0.5)
    into -= np.float32(0.25)
    return into
