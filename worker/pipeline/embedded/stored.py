"""Depth as a photo stores it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np

from worker.pipeline.photo import Floats


class DepthUnusable(ValueError):
    """The depth in the photo is damaged, or of an unknown kind."""


@dataclass(frozen=True, kw_only=True)
class StoredDepth:
    """A map, not yet upright."""

    #: Relative inverse depth, float32, h x w: bigger is nearer.
    values: Floats
    format: str
    #: The EXIF orientation that must still be applied; None: the photo's own.
    orientation: int | None


#: The longer side of the largest map that is kept: phones measure far less.
MOST_SIDE = 2048

#: How far to smooth, as a share of the longer side: phones store 256 levels, so a wall that recedes slowly is
#: a staircase of broad steps.
_REACH = 1 / 40

_PASSES = 3


def shrink(values: Floats) -> Floats:
    """Return a map, averaged to a longer side of at most MOST_SIDE pixels."""
    height, width = values.shape
    if (scale := MOST_SIDE / max(height, width)) >= 1:
        return values
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def smooth_levels(levels: Floats) -> Floats:
    """Return whole numbers, h x w, without the stairs that rounding made.

    The result lies within half a level of each, and edges stay. It is the recursive filter of Gastal and
    Oliveira (Domain transform for edge-aware image and video processing, 2011).
    """
    reach = max(1.0, _REACH * max(levels.shape))
    # A step of one level may be rounding alone; one of several is an edge.
    down, right = (1 + reach * np.maximum(np.abs(np.diff(levels, axis=axis)) - 1, 0) for axis in (0, 1))
    right, smooth = np.ascontiguousarray(right.T), levels.copy()
    for number in range(1, _PASSES + 1):
        width = reach * sqrt(3) * 2 ** (_PASSES - number) / sqrt(4**_PASSES - 1)
        decay = np.float32(-sqrt(2) / width)
        columns = np.ascontiguousarray(smooth.T)
        _filter_rows(columns, np.exp(decay * right))
        smooth = np.ascontiguousarray(columns.T)
        _filter_rows(smooth, np.exp(decay * down))
    return np.clip(smooth, levels - np.float32(0.5), levels + np.float32(0.5))


def _filter_rows(values: Floats, shares: Floats) -> None:
    """Let each row take a share of what differs in the row above, and then of what differs below."""
    for row in range(1, len(values)):
        values[row] += shares[row - 1] * (values[row - 1] - values[row])
    for row in range(len(values) - 2, -1, -1):
        values[row] += shares[row] * (values[row + 1] - values[row])
