"""From the network's prediction to a depth map of the photo's size, and to whole numbers.

The order matters: resize the raw prediction, then find the range, then normalise. Cubic
interpolation overshoots, so a range found before resizing would be too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.jobs import Range
from worker.pipeline.photo import Pixels
from worker.pipeline.scratch import Scratch

Floats: TypeAlias = NDArray[np.float32]

#: A range narrower than this share of its values is what rounding makes of a constant.
FLAT = 1e-6

#: Percentiles are taken over no more values than this, on a regular grid. The map is
#: smooth (it comes from 256 pixels), so the grid's percentiles are the map's.
_PERCENTILE_SAMPLES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Relative inverse depth, bigger is nearer, of unknown scale and shift."""

    #: float32, H x W, finite.
    values: Floats
    #: Smallest and largest of `values`.
    low: float
    high: float
    #: Values of the prediction that were NaN or infinite, and became 0.
    non_finite: int

    @property
    def is_constant(self) -> bool:
        return is_flat(Range(low=self.low, high=self.high))


def upsample(prediction: Floats, height: int, width: int, scratch: Scratch) -> DepthMap:
    """Resize a prediction, h x w, with cubic interpolation; what is not finite counts as 0.

    OpenCV's cubic kernel has a = -0.75, as torch's bicubic has, which the official code uses.
    """
    finite, non_finite = _replace_non_finite(prediction)
    values = finite
    if finite.shape != (height, width):
        values = scratch.take("depth", (height, width), np.float32)
        cv2.resize(finite, (width, height), dst=values, interpolation=cv2.INTER_CUBIC)
    low, high, _, _ = cv2.minMaxLoc(values)
    return DepthMap(values=values, low=low, high=high, non_finite=non_finite)


def own_range(depth: DepthMap, clip: tuple[float, float]) -> Range:
    """Return the range between two percentiles of a map; (0, 100) is all of it."""
    if clip == (0.0, 100.0):
        return Range(low=depth.low, high=depth.high)
    height, width = depth.values.shape
    step = max(1, int(np.ceil(np.sqrt(height * width / _PERCENTILE_SAMPLES))))
    low, high = np.percentile(depth.values[::step, ::step], clip)
    return Range(low=float(low), high=float(high))


def is_flat(span: Range) -> bool:
    """Tell whether a range is too narrow to divide by."""
    return span.high - span.low <= FLAT * max(abs(span.low), abs(span.high))


def to_bytes(depth: DepthMap, span: Range, scratch: Scratch) -> Pixels:
    """Map `span` to 0..255, rounded; values outside are clipped, a flat span gives zeros."""
    indices = scratch.take("indices", depth.values.shape, np.uint8)
    if is_flat(span):
        indices.fill(0)
        return indices
    values = depth.values
    if depth.low < span.low:
        # convertScaleAbs saturates above 255, but takes the absolute value below 0.
        values = scratch.take("clamped", values.shape, np.float32)
        cv2.max(depth.values, span.low, dst=values)  # type: ignore[call-overload]
    scale = 255 / (span.high - span.low)
    cv2.convertScaleAbs(values, dst=indices, alpha=scale, beta=-span.low * scale)
    return indices


def to_words(depth: DepthMap) -> NDArray[np.uint16]:
    """Map the whole range of a map to 0..65535, rounded; a constant map gives zeros.

    Undone by `low + word / 65535 * (high - low)`.
    """
    if depth.is_constant:
        return np.zeros(depth.values.shape, np.uint16)
    words = depth.values - np.float32(depth.low)
    words *= np.float32(65535 / (depth.high - depth.low))
    np.rint(words, out=words)
    # Rounding of the factor can lift the largest value just above the top.
    np.minimum(words, np.float32(65535), out=words)
    return words.astype(np.uint16)


def _replace_non_finite(prediction: Floats) -> tuple[Floats, int]:
    finite = np.isfinite(prediction)
    missing = prediction.size - int(np.count_nonzero(finite))
    if missing:
        prediction = np.where(finite, prediction, np.float32(0))
    return np.ascontiguousarray(prediction, np.float32), missing
