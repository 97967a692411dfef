"""Enlarge a part of a small picture to the size of the photo that it was made from."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def enlarge(values: NDArray[Any], fold: int, rows: slice, columns: slice) -> NDArray[Any]:
    """Return rows and columns of a photo, bilinear, from a picture whose pixels are `fold` x `fold` of it.

    Beyond the last pixels of that picture it continues as they are.
    """
    if fold == 1:
        return np.ascontiguousarray(values[rows, columns])
    # Interpolation reads one pixel more on every side.
    top, bottom = _around(rows, fold, values.shape[0])
    left, right = _around(columns, fold, values.shape[1])
    part = values[top:bottom, left:right]
    wide: NDArray[Any] = cv2.resize(
        part, (fold * part.shape[1], fold * part.shape[0]), interpolation=cv2.INTER_LINEAR
    )
    row, column = rows.start - fold * top, columns.start - fold * left
    height, width = rows.stop - rows.start, columns.stop - columns.start
    missing = max(0, row + height - wide.shape[0]), max(0, column + width - wide.shape[1])
    if any(missing):
        wide = cv2.copyMakeBorder(wide, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return wide[row : row + height, column : column + width]


def _around(pixels: slice, fold: int, count: int) -> tuple[int, int]:
    first = min(max(pixels.start // fold - 1, 0), count - 1)
    return first, min(-(-pixels.stop // fold) + 1, count)
