"""Scale samples of 1 to 64 bits and of any range to 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.decode.tiff.layout import COLORS, FIXED, Photometric, SampleKind, Samples
from worker.pipeline.decode.tiff.segments import Block
from worker.pipeline.photo import Pixels

#: The values that become 0 and 255.
ValueRange = tuple[float, float]

#: Full scales that values may have, besides the limit of their type.
_UNIT, _FULL_SCALES = 1, (255, 65535)

#: A full scale applies only if the highest value reaches this share of it: otherwise the picture would be
#: almost black. The limit of a type needs a larger share, as counts and measurements stay far below it.
_NEAR, _NEAR_MOST = 1 / 16, 1 / 2


def groups(samples: Samples) -> list[slice]:
    """Return which samples of a pixel share a range: its colours, and its alpha if it has one."""
    colors = COLORS[samples.photometric]
    return [slice(0, colors), slice(colors, colors + 1)][: 1 + (samples.alpha is not None)]


def overlap(group: slice, first: int, count: int) -> slice | None:
    """Return which of `count` samples, numbered from `first`, belong to a group; None if none does."""
    start, stop = max(group.start, first), min(group.stop, first + count)
    return slice(start - first, stop - first) if start < stop else None


def fixed_range(samples: Samples) -> ValueRange | None:
    """Return the range of samples if their type alone decides it; None if it depends on their values."""
    if samples.photometric in (Photometric.PALETTE, *FIXED):
        return 0, 255
    if samples.kind is SampleKind.UNSIGNED and samples.bits <= 16:
        return 0, 2**samples.bits - 1
    return None


def find_ranges(blocks: Iterable[Block], samples: Samples) -> list[ValueRange]:
    """Find the range of each group of samples from all values of a picture."""
    found: list[ValueRange] = [(np.inf, -np.inf) for _ in groups(samples)]
    for block in blocks:
        for number, group in enumerate(groups(samples)):
            inside = overlap(group, block.plane, block.values.shape[2])
            if inside is not None:
                low, high = _extremes(block.values[..., inside])
                found[number] = min(found[number][0], low), max(found[number][1], high)
    return [full_range(low, high, samples) for low, high in found]


def full_range(low: float, high: float, samples: Samples) -> ValueRange:
    """Return the range to assume for values between two extremes.

    Take the first of 0 to 1 (floats), 0 to 255, 0 to 65535, and 0 to the limit of their type that holds them
    all, if the highest value comes near to its end. Otherwise take the range from the lowest to the highest.
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
    """Return the whole signed range if half of it is used, as in an unsigned picture shifted down."""
    half = 2 ** (samples.bits - 1)
    is_picture = samples.kind is SampleKind.SIGNED and high - low >= _NEAR_MOST * 2 * half
    return (-half, half - 1) if is_picture else (low, high)


def to_bytes(values: NDArray[Any], scale: ValueRange) -> Pixels:
    """Scale numbers to 8 bits. Values that are not finite become 0."""
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
