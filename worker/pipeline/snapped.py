"""A map with its steps apart, widened to a photo's size a strip of rows at a time: `far + rise * side`."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.edges import Steps
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scratch import Scratch
from worker.pipeline.upsample import Strip, Upsampler, bound_cells, plan_strips, rows_of_a_strip


class SnappedUpsampler(Upsampler):
    """Resizes one prediction whose edges follow the photo.

    Where the prediction does not step, the map is as `Upsampler` makes it, bit for bit.
    """

    def __init__(self, steps: Steps, height: int, width: int, scratch: Scratch) -> None:
        super().__init__(steps.far, height, width, scratch)
        self._steps = steps
        self._rise = self._widen(steps.rise, "wide_rise")
        side = _shrink(steps.side, height, width)
        self._side: Pixels = scratch.take("wide_side", (side.shape[0], width), np.uint8)
        cv2.resize(side, self._side.shape[::-1], dst=self._side, interpolation=cv2.INTER_LINEAR)
        self._steepened = _steepen(width / side.shape[1])
        self._side_strips = plan_strips(side.shape[0], height, rows_of_a_strip(width), linear_taps)
        self._is_near, self._is_far = _sides(steps.side, steps.rise.shape, self._steepened)
        rises = cv2.dilate((steps.rise != 0).astype(np.uint8), np.ones((4, 4), np.uint8), anchor=(1, 1))
        self._pieces = self.pieces(self.below_strips(rises * self._is_near, cv2.dilate) > 0)

    def resized(self, height: int, width: int, scratch: Scratch) -> Upsampler:
        return SnappedUpsampler(self._steps, height, width, scratch)

    def _bounds(self) -> tuple[Floats, Floats]:
        # Each value lies between those that both plateaus have there; often it is one of them.
        far_low, far_high = bound_cells(self._steps.far)
        near_low, near_high = bound_cells(self._steps.far + self._steps.rise)
        lower = np.minimum(
            np.where(self._is_far, far_low, near_low), np.where(self._is_near, near_low, far_low)
        )
        upper = np.maximum(
            np.where(self._is_far, far_high, near_high), np.where(self._is_near, near_high, far_high)
        )
        return lower, upper

    def _multiply(self, strip: Strip, into: Floats) -> Floats:
        values = super()._multiply(strip, into)
        for piece in self._pieces[strip.number]:
            self._add_rise(strip, piece, values[:, piece])
        return values

    def _part(self, strip: Strip, columns: slice) -> Floats:
        part = super()._part(strip, columns)
        self._add_rise(strip, columns, part)
        return part

    def _add_rise(self, strip: Strip, piece: slice, into: Floats) -> None:
        """Add the rise, as far as each pixel is near, to the far plateau of some columns of a strip."""
        side_strip = self._side_strips[strip.number]
        share = self._scratch.take("share", into.shape, np.float32)
        levels = cv2.LUT(side_strip.rows_of(self._side)[:, piece], self._steepened)
        np.matmul(side_strip.weights, levels, out=share)
        np.clip(share, 0, 1, out=share)
        rise = self._scratch.take("rise", into.shape, np.float32)
        np.matmul(strip.weights, strip.rows_of(self._rise)[:, piece], out=rise)
        cv2.accumulateProduct(share, rise, into)


def linear_taps(size: int, new_size: int) -> tuple[NDArray[np.intp], Floats]:
    """Return for each of `new_size` positions the two indices below `size` it reads, and their weights."""
    position = np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)
    first = np.minimum(position.astype(np.intp), max(size - 2, 0))
    share = (position - first).astype(np.float32)
    indices = np.stack([first, np.minimum(first + 1, size - 1)], axis=1)
    return indices, np.stack([1 - share, share], axis=1)


def _shrink(side: Pixels, height: int, width: int) -> Pixels:
    """Return the sides at no more than the map's size: averaged, for the rest interpolates."""
    size = min(side.shape[1], width), min(side.shape[0], height)
    return np.asarray(cv2.resize(side, size, interpolation=cv2.INTER_AREA), np.uint8)


def _steepen(widened: float) -> Floats:
    """Return what each byte of the sides stands for, so that the ramp between them is about a pixel wide.

    The middle stays, and what leaves 0 to 1 is cut off once it is interpolated.
    """
    return ((np.arange(256) - 127.5) * (max(1.0, widened) / 255) + 0.5).astype(np.float32)


def _sides(
    side: Pixels, cells: tuple[int, ...], steepened: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return between which cells and the next ones right and below anything is near, and anything is far."""
    fold = side.shape[0] // cells[0]
    # From the middle of a cell to that of the next, and two pixels more: sides are interpolated, or averaged.
    reach = np.ones((fold + 5, fold + 5), np.uint8)
    largest = cv2.dilate(side, reach, anchor=(2, 2))
    smallest = cv2.erode(side, reach, anchor=(2, 2))
    at = slice(fold // 2 - 1 + fold % 2, None, fold)
    return steepened[largest[at, at]] > 0, steepened[smallest[at, at]] < 1
