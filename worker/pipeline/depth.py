"""Turn the network's prediction into a depth map of the photo's size, and into integers.

The order matters: resize the raw prediction, then find the range, then normalise. Cubic
interpolation overshoots, so a range found before resizing would be too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.jobs.job import Range
from shared.networks import WayBack
from worker.pipeline.edges import Guide, find_steps
from worker.pipeline.linear import LinearUpsampler
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scratch import Scratch
from worker.pipeline.snapped import SnappedUpsampler
from worker.pipeline.upsample import Upsampler

#: A range narrower than this share of its values counts as constant: it is only rounding.
FLAT = 1e-6

#: Percentiles are taken over at most this many values, on a regular grid. The map is smooth, as it comes
#: from 256 pixels, so the grid has the same percentiles.
_PERCENTILE_SAMPLES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Relative inverse depth, bigger is nearer, of unknown scale and shift; finite."""

    #: Computes the values, float32, on demand, a strip at a time.
    upsampler: Upsampler
    #: Smallest and largest value.
    low: float
    high: float
    #: How many values of the prediction were NaN or infinite and became 0.
    non_finite: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.upsampler.shape

    @property
    def is_constant(self) -> bool:
        return is_flat(Range(low=self.low, high=self.high))

    @property
    def values(self) -> Floats:
        """The whole map, float32, H x W. Every call computes it again and it is large, so prefer strips."""
        return self.upsampler.whole()


def upsample(
    prediction: Floats,
    height: int,
    width: int,
    scratch: Scratch,
    guide: Guide | None = None,
    way_back: WayBack = WayBack.CUBIC,
) -> DepthMap:
    """Resize a prediction, h x w, as its network's authors do; values that are not finite become 0.

    With a guide, the map's edges follow the photo's; its plateaus are resized by cubic interpolation.
    """
    finite, non_finite = _replace_non_finite(prediction)
    steps = find_steps(finite, guide) if guide else None
    if steps:
        return _map(SnappedUpsampler(steps, height, width, scratch), non_finite)
    kind = LinearUpsampler if way_back is WayBack.LINEAR else Upsampler
    return _map(kind(finite, height, width, scratch), non_finite)


def resize(depth: DepthMap, height: int, width: int, scratch: Scratch) -> DepthMap:
    """Return a map as it is at another size, made from the prediction anew."""
    return _map(depth.upsampler.resized(height, width, scratch), depth.non_finite)


def _map(upsampler: Upsampler, non_finite: int) -> DepthMap:
    extremes = upsampler.extremes()
    return DepthMap(upsampler=upsampler, low=extremes.low, high=extremes.high, non_finite=non_finite)


def own_range(depth: DepthMap, percentiles: tuple[float, float]) -> Range:
    """Return the range between two percentiles of a map; (0, 100) is the whole range."""
    if percentiles == (0.0, 100.0):
        return Range(low=depth.low, high=depth.high)
    low, high = np.percentile(_sample(depth), percentiles)
    return Range(low=float(low), high=float(high))


def _sample(depth: DepthMap) -> Floats:
    """Return every n-th value of every n-th row."""
    height, width = depth.shape
    step = max(1, int(np.ceil(np.sqrt(height * width / _PERCENTILE_SAMPLES))))
    return np.concatenate(
        [strip[-top % step :: step, ::step].copy() for top, strip in depth.upsampler.strips()]
    )


def is_flat(span: Range) -> bool:
    """Return whether a range is too narrow to divide by."""
    return span.high - span.low <= FLAT * max(abs(span.low), abs(span.high))


def to_bytes(depth: DepthMap, span: Range, scratch: Scratch) -> Pixels:
    """Return the map, uint8, H x W, in a scratch buffer, with `span` mapped to 0..255.

    Values are rounded, and clipped outside of the span; a flat span gives zeros.
    """
    indices: Pixels = scratch.take("indices", depth.shape, np.uint8)
    for top, strip in byte_strips(depth, span, scratch):
        indices[top : top + strip.shape[0]] = strip
    return indices


def byte_strips(depth: DepthMap, span: Range, scratch: Scratch) -> Iterator[tuple[int, Pixels]]:
    """Yield strips as `to_bytes` maps them, each with the number of its first row, valid until the next."""
    if is_flat(span):
        for top, values in depth.upsampler.strips():
            yield top, np.zeros(values.shape, np.uint8)
        return
    scale = 255 / (span.high - span.low)
    for top, values in depth.upsampler.strips():
        if depth.low < span.low:
            # convertScaleAbs saturates above 255, but takes the absolute value below 0.
            np.maximum(values, np.float32(span.low), out=values)
        indices = scratch.take("byte_strip", values.shape, np.uint8)
        cv2.convertScaleAbs(values, dst=indices, alpha=scale, beta=-span.low * scale)
        yield top, indices


def word_strips(depth: DepthMap) -> Iterator[NDArray[np.uint16]]:
    """Yield strips of the map with its whole range mapped to 0..65535 and rounded; zeros if it is constant.

    `low + word / 65535 * (high - low)` undoes it.
    """
    factor = np.float32(0 if depth.is_constant else 65535 / (depth.high - depth.low))
    for _, words in depth.upsampler.strips():
        words -= np.float32(depth.low)
        words *= factor
        np.rint(words, out=words)
        # The factor's rounding can lift the largest value just above 65535.
        np.minimum(words, np.float32(65535), out=words)
        yield words.astype(np.uint16)


def _replace_non_finite(prediction: Floats) -> tuple[Floats, int]:
    finite = np.isfinite(prediction)
    missing = prediction.size - int(np.count_nonzero(finite))
    if missing:
        prediction = np.where(finite, prediction, np.float32(0))
    return np.ascontiguousarray(prediction, np.float32), missing
