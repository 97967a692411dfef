"""From the numbers that samples are, of 1 to 64 bits and of any range, to 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.decode.tiff.layout import COLORS, FIXED, Photometric, SampleKind, Samples
from worker.pipeline.decode.tiff.segments import Block
from worker.pipeline.photo import Pixels

#: From the value that becomes 0 to the one that becomes 255.
ValueRange = tuple[float, float]

#: What values may be taken to reach up to, the type's own limit aside.
_UNIT, _FULL_SCALES = 1, (255, 65535)

#: A full scale counts only if the highest value comes that near: below, a picture would be next to
#: black. Counts and measurements stay far below the most that 32 bits hold, so that more is asked there.
_NEAR, _NEAR_MOST = 1 / 16, 1 / 2


def groups(samples: Samples) -> list[slice]:
    """Return which samples of a pixel have a range in common: its colours, and its alpha if it has any."""
    colors = COLORS[samples.photometric]
    return [slice(0, colors), slice(colors, colors + 1)][: 1 + (samples.alpha is not None)]


def overlap(group: slice, first: int, count: int) -> slice | None:
    """Return which of `count` samples, numbered from `first`, belong to a group; None if none does."""
    start, stop = max(group.start, first), min(group.stop, first + count)
    return slice(start - first, stop - first) if start < stop else None


def fixed_range(samples: Samples) -> ValueRange | None:
    """Return the range of samples whose kind alone tells it; None if it depends on their values."""
    if samples.photometric in (Photometric.PALETTE, *FIXED):
        return 0, 255
    if samples.kind is SampleKind.UNSIGNED and samples.bits <= 16:
        return 0, 2**samples.bits - 1
    return None


def find_ranges(blocks: Iterable[Block], samples: Samples) -> list[ValueRange]:
    """Return the range of each group of samples, from all values of a picture."""
    found: list[ValueRange] = [(np.inf, -np.inf) for _ in groups(samples)]
    for block in blocks:
        for number, group in enumerate(groups(samples)):
            inside = overlap(group, block.plane, block.values.shape[2])
            if inside is not None:
                low, high = _extremes(block.values[..., inside])
                found[number] = min(found[number][0], low), max(found[number][1], high)
    return [full_range(low, high, samples) for low, high in found]


def full_range(low: float, high: float, samples: Samples) -> ValueRange:
    """Return the range that values between two extremes are taken to have.

    It is from 0 to 1 (floats), to 255, to 65535 or to the most that a whole number of their kind can
    be, whichever is the first that holds them all, if the highest comes near to it. Otherwise it is from
    the lowest to the highest.
    """
    if low > high:
        return 0, _UNIT
    if low < 0:
        return _signed_range(low, high, samples)
    is_float = samples.kind is SampleKind.FLOAT
    if is_float and high <= _UNIT:
        return 0, _UNIT
    most = np.inf if is_float else float(2 ** (samples.bits - (samples.kind is SampleKind.SIGNED)) - 1)
    scales = [(full, _NEAR) for full in _FULL_SCALES if full < most] + [(most, _NEAR_MOST)]
    full, near = next(scale for scale in scales if high <= scale[0])
    return (0, full) if full * near <= high else (low, high)


def _signed_range(low: float, high: float, samples: Samples) -> ValueRange:
    """Return the whole range of signed numbers if half of it is used, as by a picture moved down by half."""
    half = 2 ** (samples.bits - 1)
    is_picture = samples.kind is SampleKind.SIGNED and high - low >= _NEAR_MOST * 2 * half
    return (-half, half - 1) if is_picture else (low, high)


def to_bytes(values: NDArray[Any], scale: ValueRange) -> Pixels:
    """Scale numbers to 8 bits. What is not finite becomes 0."""
    low, high = scale
    if values.dtype == np.uint8 and scale == (0, 255):
        return values
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, low)
    if values.dtype not in (np.uint8, np.uint16):
        values = values.astype(np.float64)
    factor = 255 / ((high - low) or 1)
    scaled = cv2.convertScaleAbs(np.ascontiguousarray(values), alpha=factor, beta=-low * factor)
    return np.asarray(scaled, np.uint8).reshape(values.shape)


def _extremes(values: NDArray[Any]) -> ValueRange:
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (np.inf, -np.inf)
