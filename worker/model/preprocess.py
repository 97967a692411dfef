"""From a photo to the network's input: resize and normalise as MiDaS_small was trained on.

The numbers are those of `small_transform` in the `hubconf.py` of isl-org/MiDaS.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: The longer side of the network's input, in pixels.
LONG_SIDE = 256

#: Both sides of the network's input are multiples of this: its coarsest scale is 1/32.
MULTIPLE = 32

#: Mean and standard deviation of RGB in [0, 1] over ImageNet.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

#: Free parameter of the cubic kernel (Keys, 1981), as OpenCV's INTER_CUBIC has it.
_CUBIC_A = -0.75


def network_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the network's input for a photo of this size.

    The longer side becomes 256 and the shorter keeps the aspect ratio, rounded to a multiple
    of 32 and never less than 32: fifteen sizes in all.
    """
    scale = min(LONG_SIDE / height, LONG_SIDE / width)
    return _to_multiple(scale * height), _to_multiple(scale * width)


def prepare(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the network's input, 1 x 3 x h x w, for a photo, H x W x 3.

    Resized in floating point, as the official code does: rounding to 8 bits and clipping
    overshoot would move the input by up to 0.5/255 and more at edges.
    """
    height, width = network_size(rgb.shape[0], rgb.shape[1])
    resized = _resize_cubic(rgb, height, width)
    normalised = resized * (1 / (255 * STD)) - MEAN / STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)


def _to_multiple(side: float) -> int:
    return max(MULTIPLE, MULTIPLE * round(side / MULTIPLE))


def _resize_cubic(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Do what cv2.resize does with INTER_CUBIC on the image in float32, and cheaper.

    Each row of the result depends on four rows of the image. Only these are converted to
    float: for 12 megapixels that takes a third of the time and a quarter of the memory.
    """
    rows, weights = cubic_taps(image.shape[0], height)
    taken = image[rows.ravel()].astype(np.float32)
    # As many rows out as in: the vertical weights are 0, 1, 0, 0 here.
    narrowed = cv2.resize(taken, (width, 4 * height), interpolation=cv2.INTER_CUBIC)
    resized: NDArray[np.float32] = np.einsum("rt,rtwc->rwc", weights, narrowed.reshape(height, 4, width, 3))
    return resized


@lru_cache(maxsize=16)
def cubic_taps(size: int, new_size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return for each of `new_size` positions the four indices below `size` it reads, and their weights.

    Both are `new_size` x 4 and not to be written to. Pixel centres are aligned and borders
    repeated, as in OpenCV.
    """
    position = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    first = np.floor(position)
    offsets = np.arange(-1, 3)
    indices = np.clip(first[:, np.newaxis] + offsets, 0, size - 1).astype(np.intp)
    distance = np.abs((position - first)[:, np.newaxis] - offsets)
    weights = _cubic_kernel(distance).astype(np.float32)
    indices.flags.writeable = weights.flags.writeable = False
    return indices, weights


def _cubic_kernel(distance: NDArray[np.float64]) -> NDArray[Any]:
    a, d = _CUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)
