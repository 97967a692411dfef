"""Continue known pixels into unknown ones."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats

_LEAST = np.float32(1e-12)


def fill(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return values, float32 h x w x c or h x w, with a smooth continuation where they are not known.

    It is the pull-push interpolation of Gortler et al. (The Lumigraph, 1996): each unknown pixel takes the
    mean of known ones at the finest scale that has any. What is known stays, bit for bit. If nothing is
    known, the result is 0.
    """
    filled = _fill_level(np.where(_along(known, values), values, np.float32(0)), known.astype(np.float32))
    return np.where(_along(known, values), values, filled)


def _fill_level(weighted: Floats, weights: Floats) -> Floats:
    """Return the values of a level, from values times weights of 0 to 1, completed by coarser levels."""
    height, width = weights.shape
    if height == width == 1 or weights.min() >= 1:
        return np.asarray(weighted / np.maximum(_along(weights, weighted), _LEAST), np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    sums = np.asarray(cv2.resize(weights, half, interpolation=cv2.INTER_AREA) * 4, np.float32)
    scale = np.asarray(4 * np.minimum(1 / np.maximum(sums, _LEAST), 1), np.float32)
    halved = np.asarray(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse = _fill_level(halved * _along(scale, halved), np.minimum(sums, 1))
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(weighted + (1 - _along(weights, weighted)) * below, np.float32)


def _along(mask: NDArray[Any], values: Floats) -> NDArray[Any]:
    """Return a mask, h x w, in a shape that fits values of one or more channels."""
    return mask if values.ndim == 2 else mask[..., np.newaxis]
