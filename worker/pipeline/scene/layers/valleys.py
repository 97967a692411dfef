"""Where to cut a photo into layers by depth: at the valleys of the histogram of its nearness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np

from worker.pipeline.photo import Floats

#: Cuts lie between two of so many equal parts of the range of nearness.
BINS = 256

#: Standard deviation of the Gaussian that smooths the histogram, in bins.
_SMOOTH = 2.5

#: A valley has at most this share of the density of the lower of the peaks beside it. Both as square roots:
#: so the peak of a small thing counts beside that of a wall.
_VALLEY = 0.75

#: The least share of a photo for a layer of its own.
_LEAST_SHARE = 0.005

#: Layers without a valley are cut if nearness has at least this standard deviation in them: that of a floor
#: that takes a fifth of the range.
_WIDE = 0.2 / np.sqrt(12)


def find_cuts(nearness: Floats, count: int) -> tuple[float, ...]:
    """Return at most `count` - 1 values, ascending, that part nearness, any shape, 0 to 1, into layers.

    The deepest valleys of the histogram come first. Where there are fewer, the layer with the most variance
    is cut into two by Otsu's threshold (IEEE Trans. SMC 9, 1979), as a floor that runs from near to far has
    no valley; but not if it takes less than about a fifth of the range. So a map of one flat thing before
    another has two layers, and a constant map has one, whatever `count` says.
    """
    shares = _histogram(nearness)
    cuts: list[int] = []
    for valley in _valleys(np.sqrt(_smoothed(shares))):
        if len(cuts) < count - 1 and _is_worth(shares, [*cuts, valley]):
            cuts.append(valley)
    while len(cuts) < count - 1 and (more := _split_widest(shares, cuts)) is not None:
        cuts.append(more)
    return tuple(cut / BINS for cut in sorted(cuts))


def _histogram(nearness: Floats) -> Floats:
    counts = np.histogram(nearness, bins=BINS, range=(0, 1))[0]
    return np.asarray(counts / max(1, counts.sum()), np.float32)


def _smoothed(shares: Floats) -> Floats:
    row = shares[np.newaxis]
    return np.asarray(cv2.GaussianBlur(row, (0, 0), _SMOOTH, borderType=cv2.BORDER_CONSTANT)[0], np.float32)


def _valleys(heights: Floats) -> list[int]:
    """Return the middles of the minima, the most prominent first."""
    found = []
    for first, end in _minima(heights):
        low = float(heights[first])
        peak = min(_peak(heights[:first][::-1], low), _peak(heights[end:], low))
        if low <= _VALLEY * peak:
            # The middle of a wide gap is as far from both sides.
            found.append((low - peak, (first + end + 1) // 2))
    return [middle for _, middle in sorted(found)]


def _minima(heights: Floats) -> Iterator[tuple[int, int]]:
    """Yield first bin and end of each stretch of equal heights between two that are higher."""
    starts = np.flatnonzero(np.diff(heights, prepend=np.inf))
    ends = np.append(starts[1:], heights.size)
    values = heights[starts]
    for at in range(1, starts.size - 1):
        if values[at - 1] > values[at] < values[at + 1]:
            yield int(starts[at]), int(ends[at])


def _peak(beside: Floats, low: float) -> float:
    """Return the largest height on the way from a minimum, up to the first one that is lower."""
    lower = np.flatnonzero(beside < low)
    return float(beside[: lower[0] if lower.size else beside.size].max())


def _is_worth(shares: Floats, cuts: Sequence[int]) -> bool:
    """Return whether every layer has its least share of the photo."""
    return all(shares[first:end].sum() >= _LEAST_SHARE for first, end in _between(cuts))


def _between(cuts: Sequence[int]) -> list[tuple[int, int]]:
    edges = [0, *sorted(cuts), BINS]
    return list(pairwise(edges))


def _split_widest(shares: Floats, cuts: Sequence[int]) -> int | None:
    """Return where to cut the layer with the most variance, or None if all are narrow."""
    best: tuple[float, int] | None = None
    for first, end in _between(cuts):
        spread, at = _otsu(shares[first:end])
        if at is not None and _is_worth(shares, [*cuts, first + at]) and (best is None or spread > best[0]):
            best = spread, first + at
    return best[1] if best else None


def _otsu(shares: Floats) -> tuple[float, int | None]:
    """Return the variance of a layer times its share, and the bin at which to cut it, if it is wide."""
    places = (np.arange(shares.size) + 0.5) / BINS
    mass, moment = np.cumsum(shares, dtype=np.float64), np.cumsum(shares * places)
    total, mean = mass[-1], moment[-1] / max(mass[-1], 1e-12)
    variance = float((shares * (places - mean) ** 2).sum())
    if variance < total * _WIDE**2 or total <= 0:
        return variance, None
    rest = np.maximum(total - mass, 1e-12)
    between = (mean * mass - moment) ** 2 / (np.maximum(mass, 1e-12) * rest)
    return variance, int(between[:-1].argmax()) + 1
