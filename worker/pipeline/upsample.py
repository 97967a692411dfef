"""Cubic interpolation of a prediction to a photo's size, a strip of rows at a time.

A map of 12 megapixels has 48 MB, and every step on the whole map moves them through memory. A strip stays
in the processor's cache until its last step. First all rows are widened to the photo's width. Then each
strip is one small matrix product: the cubic weights of its rows times the few widened rows that they
depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.jobs.job import Range
from worker.model.preprocess import cubic_taps
from worker.pipeline.photo import Floats
from worker.pipeline.scratch import Scratch

#: Values in a strip: 512 KB, half of a current core's second-level cache.
_STRIP_VALUES = 2**17

#: Rows in a strip of a small map. Each row is computed from all the widened rows that its strip depends on,
#: so taller strips would multiply by more and more zeros.
_MOST_ROWS = 32

#: To find out which strips may hold an extreme takes as long as to compute this many.
_FEW_STRIPS = 48

#: Cells between parts of a strip that are done as one.
_GAP = 4

#: The outer two of the cubic kernel's weights with a = -0.75 are never positive, and add up to no less than
#: this times -1: second differences count so much.
_OVERSHOOT = np.float32(0.1875)

#: What rounding may add to a value, as a share of its inputs; generous.
_ROUNDING = 1e-5


#: From an old and a new size to which old positions each new one reads, n x k, and their weights.
Taps: TypeAlias = Callable[[int, int], tuple[NDArray[np.intp], Floats]]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Rows [top, bottom) of the result, made from `weights` and the widened rows from `first` on."""

    number: int
    top: int
    bottom: int
    first: int
    weights: Floats

    def rows_of(self, wide: NDArray[Any]) -> NDArray[Any]:
        """Return the widened rows that the strip depends on."""
        return wide[self.first : self.first + self.weights.shape[1]]


class Upsampler:
    """Resizes one prediction. Valid until the scratch buffers serve the next one.

    OpenCV's cubic kernel has a = -0.75, like torch's bicubic, which the official code uses. A strip is
    always computed the same way, so its values are identical to the bit, however often and in whatever
    order strips are requested.
    """

    #: How the rows are mixed; see `Taps`.
    _taps: Taps = staticmethod(cubic_taps)

    def __init__(self, prediction: Floats, height: int, width: int, scratch: Scratch) -> None:
        """Take a finite prediction, h x w, to be resized to height x width."""
        self.shape = height, width
        self._prediction = prediction
        self._scratch = scratch
        self._wide = self._widen(prediction, "wide")
        self._strips = plan_strips(prediction.shape[0], height, rows_of_a_strip(width), self._taps)

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the prediction."""
        height, width = self._prediction.shape
        return height, width

    def resized(self, height: int, width: int, scratch: Scratch) -> Upsampler:
        """Return what resizes the same prediction to another size."""
        return Upsampler(self._prediction, height, width, scratch)

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

        Of a large map only the parts that may hold one of them are computed. How far a value can
        lie outside of the 4 x 4 values it is interpolated from is known, and maps are smooth: for
        most photos a few parts in a hundred are left.
        """
        if len(self._strips) <= _FEW_STRIPS:
            ranges = [cv2.minMaxLoc(self._compute(strip))[:2] for strip in self._strips]
            return Range(low=min(low for low, _ in ranges), high=max(high for _, high in ranges))
        lower, upper = self._bounds()
        lower, upper = self.below_strips(lower, cv2.erode), self.below_strips(upper, cv2.dilate)
        return Range(low=-self._largest(-upper, -lower, -1), high=self._largest(lower, upper, 1))

    def _largest(self, lower: Floats, upper: Floats, sign: int) -> float:
        """Return the largest value of the map times `sign`, given bounds of that, strips x w."""
        # A good one first, and then what may be better, the most promising parts first.
        best = _largest(self._compute(self._strips[int(lower.max(axis=1).argmax())]), sign)
        parts = [(upper[n, a:b].max(), n, a, b) for n, a, b in _runs(upper > best)]
        reached: dict[int, float] = {}
        top = best
        for bound, number, first, end in sorted(parts, reverse=True):
            if bound <= top:
                break
            columns = self._columns(first, end, upper.shape[1])
            found = _largest(self._part(self._strips[number], columns), sign)
            reached[number] = max(found, reached.get(number, found))
            top = max(top, found)
        # A part's values may differ in the last bits from those of its whole strip.
        least = top - _ROUNDING * float(np.abs(upper).max())
        again = [self._strips[number] for number, found in reached.items() if found >= least]
        return max([best, *(_largest(self._compute(strip), sign) for strip in again)])

    def _bounds(self) -> tuple[Floats, Floats]:
        """Return for each cell, h x w, bounds of what is interpolated between it and the next."""
        return bound_cells(self._prediction)

    def below_strips(self, values: NDArray[Any], extreme: Callable[..., Any]) -> NDArray[Any]:
        """Return the extreme, `cv2.dilate` or `cv2.erode`, of the cells below each strip, strips x w."""
        taps, _ = cubic_taps(values.shape[0], self.shape[0])
        first = [int(taps[strip.top, 1]) for strip in self._strips]
        count = max(
            int(taps[strip.bottom - 1, 1]) - top + 1 for strip, top in zip(self._strips, first, strict=True)
        )
        # The rows below the last ones are none, whatever the extreme.
        return np.asarray(extreme(values, np.ones((count, 1), np.uint8), anchor=(0, 0)))[first]

    def pieces(self, on: NDArray[np.bool_]) -> list[list[slice]]:
        """Return for each strip the columns over the cells which are on, strips x w, in few pieces."""
        pieces: list[list[slice]] = [[] for _ in on]
        for number, first, end in _runs(on):
            pieces[number].append(self._columns(first, end, on.shape[1]))
        return pieces

    def _columns(self, first: int, end: int, width: int) -> slice:
        """Return the columns over some of `width` cells, each from its middle to that of the next."""
        scale = self.shape[1] / width
        left = int((first + 0.5) * scale - 1) if first else 0
        right = int((end + 0.5) * scale + 2) if end < width else self.shape[1]
        return slice(max(left, 0), min(right, self.shape[1]))

    def _widen(self, prediction: Floats, name: str) -> Floats:
        """Return a prediction at the map's width, in a scratch buffer."""
        wide: Floats = self._scratch.take(name, (prediction.shape[0], self.shape[1]), np.float32)
        # As many rows out as in, so that the vertical weights are 0, 1, 0, 0 here.
        cv2.resize(prediction, wide.shape[::-1], dst=wide, interpolation=cv2.INTER_CUBIC)
        return wide

    def _compute(self, strip: Strip) -> Floats:
        shape = strip.bottom - strip.top, self.shape[1]
        return self._multiply(strip, self._scratch.take("strip", shape, np.float32))

    def _multiply(self, strip: Strip, into: Floats) -> Floats:
        product: Floats = np.matmul(strip.weights, strip.rows_of(self._wide), out=into)
        return product

    def _part(self, strip: Strip, columns: slice) -> Floats:
        """Return some columns of a strip, but for rounding."""
        part: Floats = strip.weights @ strip.rows_of(self._wide)[:, columns]
        return part


def bound_cells(prediction: Floats) -> tuple[Floats, Floats]:
    """Return for each cell, h x w, bounds of what is interpolated between it and the next ones.

    Between two cells, the kernel stays between their values where the prediction is straight, and
    leaves them by a share of its second differences where it bends. Bounds from those are far closer
    than bounds from the values alone: a steep slope has none of them.
    """
    padded = np.pad(prediction, 2, mode="edge")
    slack = np.float32(_ROUNDING * float(np.abs(prediction).max()))
    return -_bound_above(-padded) - slack, _bound_above(padded) + slack


def _bound_above(p: Floats) -> Floats:
    """Return upper bounds for each cell, h x w, of a prediction with two cells more on each side."""
    across = _OVERSHOOT * _larger(np.maximum(2 * p[:, 1:-1] - p[:, :-2] - p[:, 2:], 0), axis=1)
    rows = _larger(p[:, 1:-1], axis=1) + across
    # Rows are widened before they are mixed, and so are their second differences.
    bend = 2 * p[1:-1] - p[:-2] - p[2:]
    highest, lowest = _of_four(bend, np.maximum), _of_four(bend, np.minimum)
    highest += _OVERSHOOT * (highest - lowest)
    bound = _larger(rows[1:-1], axis=0) + _OVERSHOOT * _larger(np.maximum(highest, 0), axis=0)
    # Before the first cell, half of one lies that is counted with it.
    bound[:, 1] = np.maximum(bound[:, 0], bound[:, 1])
    bound[1] = np.maximum(bound[0], bound[1])
    return np.asarray(bound[1:, 1:], np.float32)


def _larger(values: Floats, *, axis: int) -> Floats:
    """Return the larger of each two neighbours along an axis."""
    one, other = (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])
    return np.maximum(one, other)


def _of_four(values: Floats, choose: np.ufunc) -> Floats:
    """Return the largest or the smallest of each four neighbours in a row."""
    pairs = choose(values[:, :-1], values[:, 1:])
    return np.asarray(choose(pairs[:, :-2], pairs[:, 2:]), np.float32)


def _runs(on: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return the runs in each row, over small gaps: row, first column and end, in order."""
    closed = cv2.morphologyEx(on.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, _GAP + 1), np.uint8))
    change = np.diff(np.pad(closed.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (rows, first), (_, end) = np.nonzero(change == 1), np.nonzero(change == -1)
    return list(zip(rows.tolist(), first.tolist(), end.tolist(), strict=True))


def _largest(values: Floats, sign: int) -> float:
    """Return the largest of some values times `sign`."""
    low, high, _, _ = cv2.minMaxLoc(values)
    return high if sign > 0 else -low


def rows_of_a_strip(width: int) -> int:
    """Return an even number of rows: the colour of a JPEG is kept for pairs of them."""
    return max(2, min(_MOST_ROWS, _STRIP_VALUES // width // 2 * 2))


@lru_cache(maxsize=32)
def plan_strips(size: int, new_size: int, rows: int, taps: Taps) -> tuple[Strip, ...]:
    """Return the strips of `rows` rows that resize `size` rows to `new_size`."""
    return tuple(_make_strips(size, new_size, rows, *taps(size, new_size)))


def _make_strips(
    size: int, new_size: int, rows: int, taps: NDArray[np.intp], weights: Floats
) -> Iterator[Strip]:
    tops = np.arange(0, new_size, rows)
    first = np.minimum.reduceat(taps.min(axis=1), tops)
    count = int((np.maximum.reduceat(taps.max(axis=1), tops) - first).max()) + 1
    # All strips read equally many rows, so those at the lower border begin earlier.
    first = np.minimum(first, size - count)
    banded = np.zeros((new_size, count), np.float32)
    columns = taps - first.repeat(rows)[:new_size, np.newaxis]
    for tap in range(taps.shape[1]):
        banded[np.arange(new_size), columns[:, tap]] += weights[:, tap]
    for number, (top, start) in enumerate(zip(tops.tolist(), first.tolist(), strict=True)):
        bottom = min(top + rows, new_size)
        yield Strip(number=number, top=top, bottom=bottom, first=start, weights=banded[top:bottom])
