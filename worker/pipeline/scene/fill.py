"""Continue known pixels into unknown ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats

_LEAST = np.float32(1e-12)

#: Rows handled at a time at full size, an even number: they stay in the processor's cache.
_STRIP_ROWS = 32


def fill(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return values, float32 h x w x c or h x w, with a smooth continuation where they are not known.

    It is the pull-push interpolation of Gortler et al. (The Lumigraph, 1996): each unknown pixel takes the
    mean of known ones at the finest scale that has any. What is known stays, bit for bit. If nothing is
    known, the result is 0.
    """
    filled = np.array(values, np.float32)
    if known.all():
        return filled
    planes = filled.reshape(*known.shape, -1)
    coarse = _complete(_halve_known(planes, known))
    for top in range(0, known.shape[0], _STRIP_ROWS):
        _fill_strip(planes[top : top + _STRIP_ROWS], known[top : top + _STRIP_ROWS], coarse, top)
    return filled


def _halve_known(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return known values, h x w x c, at half the size as `_halve` does: their weight is 1, or 0."""
    height, width, channels = values.shape
    halved = np.empty((-(-height // 2), -(-width // 2), channels + 1), np.float32)
    for top in range(0, height, _STRIP_ROWS):
        rows = values[top : top + _STRIP_ROWS]
        weighted = np.zeros((*rows.shape[:2], channels + 1), np.float32)
        mask = known[top : top + _STRIP_ROWS]
        np.copyto(weighted[..., :-1], rows, where=mask[..., np.newaxis])
        weighted[..., -1] = mask
        part = _halve(weighted)
        halved[top // 2 : top // 2 + part.shape[0]] = part
    return halved


def _halve(level: Floats) -> Floats:
    """Return a level at half its size: values times weights, and in the last channel the weights, 0 to 1."""
    height, width, _ = level.shape
    if height % 2 or width % 2:
        # What is not there has no weight.
        level = _pad(level, height % 2, width % 2)
    half = -(-width // 2), -(-height // 2)
    means = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.float32)
    means *= 1 / np.maximum(means[..., -1:], np.float32(0.25))
    return means


def _pad(level: Floats, rows: int, columns: int) -> Floats:
    return np.pad(level, ((0, rows), (0, columns), (0, 0)))


def _complete(level: Floats) -> Floats:
    """Return the values of a level, completed by coarser levels."""
    values, weights = level[..., :-1], level[..., -1:]
    if level.shape[:2] == (1, 1) or weights.min() >= 1:
        return np.asarray(values / np.maximum(weights, _LEAST), np.float32)
    height, width = weights.shape[:2]
    below = _double(_complete(_halve(level)))[:height, :width]
    below *= 1 - weights
    below += values
    return below


def _double(values: Floats) -> Floats:
    """Return values, h x w x c, at twice their size, bilinear."""
    height, width, channels = values.shape
    doubled = cv2.resize(values, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(doubled, np.float32).reshape(2 * height, 2 * width, channels)


def _fill_strip(values: Floats, known: NDArray[np.bool_], coarse: Floats, top: int) -> None:
    """Fill the unknown pixels of a strip, h x w x c, which begins at the row `top`, from half the size."""
    columns = np.flatnonzero(~known.all(axis=0))
    if not columns.size:
        return
    left, right = int(columns[0]), int(columns[-1]) + 1
    # Bilinear interpolation reads one value more on every side.
    first_row, first_column = max(top // 2 - 1, 0), max(left // 2 - 1, 0)
    last_row, last_column = (top + values.shape[0] + 1) // 2 + 1, (right + 1) // 2 + 1
    below = _double(np.ascontiguousarray(coarse[first_row:last_row, first_column:last_column]))
    at_row, at_column = top - 2 * first_row, left - 2 * first_column
    part = below[at_row : at_row + values.shape[0], at_column : at_column + right - left]
    np.copyto(values[:, left:right], part, where=~known[:, left:right, np.newaxis])
