"""Linear interpolation of a prediction to a photo's size, with the corners aligned.

The official code of Depth Anything goes back to the photo's size so.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.jobs.job import Range
from worker.pipeline.photo import Floats
from worker.pipeline.scratch import Scratch
from worker.pipeline.upsample import Upsampler


@lru_cache(maxsize=16)
def corner_taps(size: int, new_size: int) -> tuple[NDArray[np.intp], Floats]:
    """Return for each of `new_size` positions the two indices below `size` it reads, and their weights.

    Both are `new_size` x 2 and read-only. The first position is the first old one, the last the last.
    """
    position = np.linspace(0, size - 1, new_size)
    first = np.minimum(position.astype(np.intp), max(size - 2, 0))
    indices = np.stack([first, np.minimum(first + 1, size - 1)], axis=1)
    share = (position - first).astype(np.float32)
    weights = np.stack([1 - share, share], axis=1)
    indices.flags.writeable = weights.flags.writeable = False
    return indices, weights


class LinearUpsampler(Upsampler):
    """Resizes one prediction as torch's bilinear interpolation with `align_corners` does."""

    _taps = staticmethod(corner_taps)

    def resized(self, height: int, width: int, scratch: Scratch) -> Upsampler:
        return LinearUpsampler(self._prediction, height, width, scratch)

    def extremes(self) -> Range:
        """Return the smallest and the largest value of the map. Each strip is computed for that."""
        ranges = [cv2.minMaxLoc(strip)[:2] for _, strip in self.strips()]
        return Range(low=min(low for low, _ in ranges), high=max(high for _, high in ranges))

    def _widen(self, prediction: Floats, name: str) -> Floats:
        (first, second), (one, other) = (taps.T for taps in corner_taps(prediction.shape[1], self.shape[1]))
        wide: Floats = self._scratch.take(name, (prediction.shape[0], self.shape[1]), np.float32)
        np.multiply(prediction[:, first], one, out=wide)
        wide += prediction[:, second] * other
        return wide
