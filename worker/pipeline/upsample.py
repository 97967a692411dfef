"""Cubic interpolation of a prediction to a photo's size, a strip of rows at a time.

A map of 12 megapixels has 48 MB, and every step on the whole map moves them through memory. A strip stays
in the processor's cache until its last step. First all rows are widened to the photo's width. Then each
strip is one small matrix product: the cubic weights of its rows times the few widened rows that they
depend on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from shared.jobs.job import Range
from worker.model.preprocess import cubic_taps
from worker.pipeline.photo import Floats
from worker.pipeline.scratch import Scratch

#: Values in a strip: 512 KB, half of a current core's second-level cache.
_STRIP_VALUES = 2**17

#: Rows in a strip of a small map. Each row is computed from all the widened rows that its strip depends on,
#: so taller strips would multiply by more and more zeros.
_MOST_ROWS = 32

#: Finding the strips that may hold an extreme takes as long as computing this many strips.
_FEW_STRIPS = 24

#: The negative weights of the cubic kernel with a = -0.75 add up to 0.1875 at most, and the positive ones to
#: as much more than 1. In two dimensions the negative products add up to this.
_OVERSHOOT = 2 * 0.1875 * 1.1875

#: What rounding may add to a value, as a share of its inputs; generous.
_ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class _Strip:
    """Rows [top, bottom) of the result, made from `weights` and the widened rows from `first` on."""

    top: int
    bottom: int
    first: int
    weights: Floats


class Upsampler:
    """Resizes one prediction. Valid until the scratch buffers serve the next one.

    OpenCV's cubic kernel has a = -0.75, like torch's bicubic, which the official code uses. A strip is
    always computed the same way, so its values are identical to the bit, however often and in whatever
    order strips are requested.
    """

    def __init__(self, prediction: Floats, height: int, width: int, scratch: Scratch) -> None:
        """Take a finite prediction, h x w, to be resized to height x width."""
        self.shape = height, width
        self._prediction = prediction
        self._scratch = scratch
        # The number of rows stays the same, so the vertical weights are 0, 1, 0, 0.
        self._wide = scratch.take("wide", (prediction.shape[0], width), np.float32)
        size = width, prediction.shape[0]
        cv2.resize(prediction, size, dst=self._wide, interpolation=cv2.INTER_CUBIC)
        self._strips = _plan(prediction.shape[0], height, _rows_of_a_strip(width))

    def strips(self) -> Iterator[tuple[int, Floats]]:
        """Yield all strips from the top, each with the number of its first row, valid until the next."""
        for strip in self._strips:
            yield strip.top, self._compute(strip)

    def strips_upward(self) -> Iterator[Floats]:
        """Yield all strips from bottom to top, each valid until the next."""
        for strip in reversed(self._strips):
            yield self._compute(strip)

    def whole(self) -> Floats:
        """Return the whole map, height x width, in a scratch buffer."""
        values: Floats = self._scratch.take("depth", self.shape, np.float32)
        for strip in self._strips:
            self._multiply(strip, values[strip.top : strip.bottom])
        return values

    def extremes(self) -> Range:
        """Return the smallest and the largest value of the map.

        Of a large map, only the strips that may hold one of them are computed. A value exceeds the 4 x 4
        values that it is interpolated from by a bounded amount, and maps are smooth, so most photos need a
        few strips in a hundred.
        """
        if len(self._strips) <= _FEW_STRIPS:
            return _join([self._range_of(number) for number in range(len(self._strips))])
        lowest, highest = self._bounds()
        found: dict[int, Range] = {}
        # Take the most promising strips first, and stop at the first one that cannot do better.
        for number in np.argsort(-highest).tolist():
            if found and highest[number] <= max(seen.high for seen in found.values()):
                break
            found[number] = self._range_of(number)
        for number in np.argsort(lowest).tolist():
            if lowest[number] >= min(seen.low for seen in found.values()):
                break
            if number not in found:
                found[number] = self._range_of(number)
        return _join(found.values())

    def _range_of(self, number: int) -> Range:
        low, high, _, _ = cv2.minMaxLoc(self._compute(self._strips[number]))
        return Range(low=low, high=high)

    def _bounds(self) -> tuple[Floats, Floats]:
        """Return a lower and an upper bound of the values of each strip."""
        kernel = np.ones((4, 4), np.uint8)
        # The taps of a cell reach from one before to two after it.
        largest = cv2.dilate(self._prediction, kernel, anchor=(1, 1))
        smallest = cv2.erode(self._prediction, kernel, anchor=(1, 1))
        slack = _OVERSHOOT * (largest - smallest)
        slack += _ROUNDING * np.maximum(np.abs(largest), np.abs(smallest))
        upper, lower = (largest + slack).max(axis=1), (smallest - slack).min(axis=1)
        first = [strip.first for strip in self._strips]
        # All strips read equally many rows.
        count = self._strips[0].weights.shape[1]
        lowest, highest = sliding_window_view(lower, count), sliding_window_view(upper, count)
        return lowest[first].min(axis=1), highest[first].max(axis=1)

    def _compute(self, strip: _Strip) -> Floats:
        shape = strip.bottom - strip.top, self.shape[1]
        return self._multiply(strip, self._scratch.take("strip", shape, np.float32))

    def _multiply(self, strip: _Strip, into: Floats) -> Floats:
        rows = self._wide[strip.first : strip.first + strip.weights.shape[1]]
        product: Floats = np.matmul(strip.weights, rows, out=into)
        return product


def _join(ranges: Collection[Range]) -> Range:
    return Range(low=min(one.low for one in ranges), high=max(one.high for one in ranges))


def _rows_of_a_strip(width: int) -> int:
    """Return an even number of rows: a JPEG stores colour for pairs of rows."""
    return max(2, min(_MOST_ROWS, _STRIP_VALUES // width // 2 * 2))


@lru_cache(maxsize=16)
def _plan(size: int, new_size: int, rows: int) -> tuple[_Strip, ...]:
    """Return the strips of `rows` rows that resize `size` rows to `new_size`."""
    return tuple(_make_strips(size, new_size, rows))


def _make_strips(size: int, new_size: int, rows: int) -> Iterator[_Strip]:
    taps, weights = cubic_taps(size, new_size)
    tops = np.arange(0, new_size, rows)
    first = np.minimum.reduceat(taps.min(axis=1), tops)
    count = int((np.maximum.reduceat(taps.max(axis=1), tops) - first).max()) + 1
    # All strips read equally many rows, so those at the lower border begin earlier.
    first = np.minimum(first, size - count)
    banded = np.zeros((new_size, count), np.float32)
    columns = taps - first.repeat(rows)[:new_size, np.newaxis]
    for tap in range(taps.shape[1]):
        banded[np.arange(new_size), columns[:, tap]] += weights[:, tap]
    for top, start in zip(tops.tolist(), first.tolist(), strict=True):
        bottom = min(top + rows, new_size)
        yield _Strip(top=top, bottom=bottom, first=start, weights=banded[top:bottom])
