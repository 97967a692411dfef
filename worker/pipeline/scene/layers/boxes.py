"""Where in a picture of numbers each of them is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Pixels


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """For each number from 0 to 255 the rectangle around its pixels, and how many there are."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    #: One more than the last row and column.
    bottom: NDArray[np.int64]
    right: NDArray[np.int64]
    #: 0 for a number that is not there; its rectangle means nothing.
    area: NDArray[np.int64]


def find_boxes(numbers: Pixels) -> Boxes:
    """Return the boxes of the numbers in a picture, H x W: from the runs of equal ones in its rows."""
    height, width = numbers.shape
    starts = np.empty(numbers.shape, np.bool_)
    starts[:, 0] = True
    np.not_equal(numbers[:, 1:], numbers[:, :-1], out=starts[:, 1:])
    at = np.flatnonzero(starts)
    lengths = np.diff(at, append=numbers.size)
    rows, columns = np.divmod(at, width)
    number = numbers.reshape(-1)[at]
    top, left = np.full(256, height), np.full(256, width)
    bottom, right, area = np.zeros(256, np.int64), np.zeros(256, np.int64), np.zeros(256, np.int64)
    np.minimum.at(top, number, rows)
    np.minimum.at(left, number, columns)
    np.maximum.at(bottom, number, rows + 1)
    np.maximum.at(right, number, columns + lengths)
    np.add.at(area, number, lengths)
    return Boxes(top=top, left=left, bottom=bottom, right=right, area=area)
