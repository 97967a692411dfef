"""Make a view of a photo from the shifts of a smaller map (worker.pipeline.scene.stereo.warp).

The photo is sampled backward, between its pixels, so it stays sharp. The shifts are interpolated to its
size, but where they jump: a value between both sides would show what belongs to neither.
"""

from __future__ import annotations

from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.stereo.warp import Viewpoint, source_of
from worker.pipeline.snapped import linear_taps
from worker.pipeline.upsample import plan_strips

#: OpenCV's remap can address no longer side.
MAX_SIDE = 32_766

#: Rows that are made at a time: their map stays in the processor's cache.
STRIP_ROWS = 32

#: Shifts of neighbours that differ by more, in pixels of the map, are not interpolated. Those of a mirrored
#: background differ by 2.
_JUMP = 2.5

#: OpenCV's remap takes this many steps between two pixels, along each side.
_STEPS = 32


class View:
    """A view of a photo, made a strip of rows at a time."""

    def __init__(self, rgb: Pixels, shifts: Floats, viewpoint: Viewpoint) -> None:
        """Take the photo, H x W x 3, no side longer than `MAX_SIDE`, and the shifts, h x w (find_shifts)."""
        height, width = rgb.shape[:2]
        self._rgb = rgb
        self._viewpoint = viewpoint
        steps = shifts * np.float32(_STEPS * width / shifts.shape[1])
        self._wide = cv2.resize(steps, (width, shifts.shape[0]), interpolation=cv2.INTER_LINEAR)
        self._strips = plan_strips(shifts.shape[0], height, STRIP_ROWS, linear_taps)
        self._jumps = _Jumps(shifts, steps, height, width)
        columns = _STEPS * source_of(np.arange(width), width, viewpoint)
        self._columns = np.tile(columns.astype(np.float32), (STRIP_ROWS, 1))
        self._shifts = np.empty((STRIP_ROWS, width), np.float32)
        self._places = np.empty((STRIP_ROWS, width, 2), np.int16)
        self._between = np.empty((STRIP_ROWS, width), np.uint16)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._rgb.shape[0], self._rgb.shape[1]

    def draw(self, top: int, into: Pixels) -> None:
        """Write up to `STRIP_ROWS` rows, from `top`, a multiple of it; `into` has as many as there are."""
        strip = self._strips[top // STRIP_ROWS]
        used = slice(strip.bottom - strip.top)
        shifts, places, between = self._shifts[used], self._places[used], self._between[used]
        np.matmul(strip.weights, strip.rows_of(self._wide), out=shifts)
        self._jumps.keep_apart(strip.number, shifts)
        self._place_columns(shifts, places, between)
        photo = self._place_rows(top, places, between)
        border = cv2.BORDER_REPLICATE
        cv2.remap(photo, places, between, cv2.INTER_LINEAR, dst=into, borderMode=border)

    def _place_columns(self, shifts: Floats, places: NDArray[np.int16], between: NDArray[np.uint16]) -> None:
        """Write which column each pixel shows, as a whole one and steps."""
        columns = cv2.add(shifts, self._columns[: len(shifts)], dtype=cv2.CV_32S)
        np.bitwise_and(columns, _STEPS - 1, out=between, casting="unsafe")
        np.right_shift(columns, _STEPS.bit_length() - 1, out=places[..., 0], casting="unsafe")

    def _place_rows(self, top: int, places: NDArray[np.int16], between: NDArray[np.uint16]) -> Pixels:
        """Add which row each pixel shows, and return the rows of the photo that these count from."""
        height = self._rgb.shape[0]
        rows = source_of(np.arange(top, top + len(places)), height, self._viewpoint)
        steps = np.rint(_STEPS * rows).astype(np.intp)
        first = max(int(steps[0]) // _STEPS, 0)
        places[..., 1] = (steps // _STEPS - first)[:, np.newaxis]
        between += (steps % _STEPS * _STEPS).astype(np.uint16)[:, np.newaxis]
        return self._rgb[first : int(steps[-1]) // _STEPS + 2]


class _Jumps:
    """The pixels of a view between neighbours of the map that jump: each takes the value of one side.

    The interpolated value tells which: so an edge is smooth like a contour line. The nearest value would make
    steps as large as the map's pixels.
    """

    def __init__(self, shifts: Floats, values: Floats, height: int, width: int) -> None:
        """Take the shifts, h x w, which tell where jumps are, and the values to be interpolated, h x w."""
        rows, columns = (
            _find_jumps(shifts) if shifts.shape != (height, width) else (np.empty(0, np.intp),) * 2
        )
        row, down = _pixels_between(rows, shifts.shape[0], height)
        column, right = _pixels_between(columns, shifts.shape[1], width)
        value = _choose_side(_corners(values, rows, columns), down[:, :, np.newaxis], right[:, np.newaxis])
        at = (row % STRIP_ROWS * width)[:, :, np.newaxis] + column[:, np.newaxis]
        strip = row.ravel() // STRIP_ROWS
        order = np.argsort(strip, kind="stable")
        self._at = at.reshape(len(order), at.shape[-1])[order]
        self._values = value.reshape(len(order), at.shape[-1])[order]
        self._starts = np.searchsorted(strip[order], np.arange(ceil(height / STRIP_ROWS) + 1))

    def keep_apart(self, number: int, strip: Floats) -> None:
        """Overwrite the interpolated values of a strip that lie between neighbours that jump."""
        some = slice(self._starts[number], self._starts[number + 1])
        strip.ravel()[self._at[some]] = self._values[some]


def _find_jumps(shifts: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the upper left pixels of all 2 x 2 whose values jump; those of -1 are beyond the border."""
    square, around = np.ones((2, 2), np.uint8), cv2.copyMakeBorder(shifts, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    spread = cv2.dilate(around, square, anchor=(0, 0)) - cv2.erode(around, square, anchor=(0, 0))
    jumps = spread[:-1, :-1] > _JUMP
    # Faster than `np.nonzero`, as there are few.
    rows, columns = np.divmod(np.flatnonzero(jumps), jumps.shape[1])
    return rows - 1, columns - 1


def _pixels_between(cells: NDArray[np.intp], size: int, new_size: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the pixels between the middle of each cell and the next one's, n x k, and how far along each is.

    `size` cells lie over `new_size` pixels. Where there are fewer than k, the last one is repeated.
    """
    scale = new_size / size
    first, end = (np.ceil((cells + middle) * scale - 0.5).astype(np.intp) for middle in (0.5, 1.5))
    pixels = np.minimum(first[:, np.newaxis] + np.arange(ceil(scale)), end[:, np.newaxis] - 1)
    pixels = np.clip(pixels, 0, new_size - 1)
    along = (pixels + 0.5) / scale - 0.5 - cells[:, np.newaxis]
    return pixels, np.clip(along, 0, 1).astype(np.float32)


def _corners(values: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
    """Return the values of 2 x 2 pixels, 2 x 2 x n x 1 x 1, given the upper left ones."""
    row, column = (np.stack((at, at + 1)) for at in (rows, columns))
    row, column = np.clip(row, 0, values.shape[0] - 1), np.clip(column, 0, values.shape[1] - 1)
    return values[row[:, np.newaxis], column[np.newaxis], np.newaxis, np.newaxis]


def _choose_side(corners: Floats, down: Floats, right: Floats) -> Floats:
    """Return the largest or the smallest corner, whichever is closer to the interpolated value, n x k x l."""
    top, bottom = corners[:, 0] + (corners[:, 1] - corners[:, 0]) * right
    value = top + (bottom - top) * down
    largest, smallest = corners.max(axis=(0, 1)), corners.min(axis=(0, 1))
    return np.asarray(np.where(2 * value > largest + smallest, largest, smallest), np.float32)
