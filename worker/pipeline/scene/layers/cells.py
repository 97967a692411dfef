"""Pictures in cells: squares of pixels of a photo, enough of them for what is smooth."""

from __future__ import annotations

from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Pixels

#: Cells are made larger until the longer side has no more than this, but not larger than so many pixels.
_ENOUGH_CELLS, _MOST_PIXELS = 640, 8


def cell_size(height: int, width: int) -> int:
    """Return the side of a cell in pixels, 1, 2, 4 or 8; not longer than the shorter side."""
    size = 1
    while (
        size < _MOST_PIXELS and max(height, width) > _ENOUGH_CELLS * size and min(height, width) >= 2 * size
    ):
        size *= 2
    return size


def cell_extremes(values: Pixels, cell: int) -> tuple[Pixels, Pixels]:
    """Return the least and the largest value of each cell of H x W bytes.

    A last row or column of cells that would not be whole is left out.
    """
    height, width = values.shape[0] // cell, values.shape[1] // cell
    whole = values[: height * cell, : width * cell]
    return _reduce(whole, cell, np.minimum), _reduce(whole, cell, np.maximum)


def _reduce(values: Pixels, cell: int, extreme: np.ufunc) -> Pixels:
    rows = reduce(extreme, (values[n::cell] for n in range(cell)))
    return np.asarray(reduce(extreme, (rows[:, n::cell] for n in range(cell))), np.uint8)


def cell_means(picture: Pixels, cell: int) -> Pixels:
    """Return the mean of each cell of H x W x c bytes, of as many cells as `cell_extremes`."""
    height, width = picture.shape[0] // cell, picture.shape[1] // cell
    whole = picture[: height * cell, : width * cell]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def to_mask(on: NDArray[np.bool_]) -> Pixels:
    """Return 255 where something is so, and 0 elsewhere."""
    return np.negative(on.view(np.int8)).view(np.uint8)
