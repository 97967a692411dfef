"""Part the colours of soft edges into those of both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels

#: How many pixels away from a soft edge the colour of its far side is taken.
_AWAY = 3


@dataclass(frozen=True, kw_only=True)
class SoftEdge:
    """The n pixels of a soft edge, and the colours that make the photo's when they are mixed by its alpha."""

    #: n indices each.
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    #: uint8, n x 3.
    near: Pixels
    far: Pixels


def unmix(photo: Pixels, alpha: Pixels, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> SoftEdge:
    """Return the colours of both sides at pixels of a soft edge, from a photo, H x W x 3, and alpha, H x W.

    The far side has the colour of the photo a few pixels away from the edge, if there is a colour for the
    near side that gives the photo's with it; else the nearest that there is. Mixed by alpha, which is
    neither 0 nor 255 at these pixels, both are the photo's colour within a half.
    """
    mixed = photo[rows, columns].astype(np.float32)
    beside = _beside(alpha, rows, columns)
    # Where the layer is there as well, nothing is known of what is behind it.
    is_free = (alpha[beside] == 0)[:, np.newaxis]
    far = np.where(is_free, photo[beside].astype(np.float32), mixed)
    share = alpha[rows, columns, np.newaxis] * np.float32(1 / 255)
    wanted = (mixed - (1 - share) * far) / share
    near = np.rint(np.clip(wanted, 0, 255))
    left = (mixed - share * near) / (1 - share)
    far = np.where(np.abs(wanted - near) <= 0.5, far, np.rint(np.clip(left, 0, 255)))
    return SoftEdge(rows=rows, columns=columns, near=_bytes(near), far=_bytes(far))


def _beside(
    alpha: Pixels, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels a little away from some, down the slope of alpha."""
    height, width = alpha.shape
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, width - 1)
    down = alpha[below, columns].astype(np.float32) - alpha[above, columns]
    across = alpha[rows, right].astype(np.float32) - alpha[rows, left]
    step = _AWAY / np.maximum(np.hypot(down, across), 1)
    return _moved(rows, down * step, height), _moved(columns, across * step, width)


def _moved(places: NDArray[np.intp], by: Floats, size: int) -> NDArray[np.intp]:
    return np.clip(places - np.rint(by).astype(np.intp), 0, size - 1)


def _bytes(values: Floats) -> Pixels:
    return values.astype(np.uint8)
