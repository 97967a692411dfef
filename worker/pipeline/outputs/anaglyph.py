"""Two views in one picture, for glasses that are red before the left eye and cyan before the right."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Anaglyph
from worker.pipeline.photo import Pixels
from worker.pipeline.srgb import bytes_of, light_of_bytes

#: Linear red, green and blue from those of the left view and of the right, for red and cyan glasses before
#: an LCD. Dubois, "Conversion of a Stereo Pair to Anaglyph with the Least-Squares Projection Method", 2009.
_DUBOIS_LEFT = ((0.437, 0.449, 0.164), (-0.062, -0.062, -0.024), (-0.048, -0.050, -0.017))
_DUBOIS_RIGHT = ((-0.011, -0.032, -0.007), (0.377, 0.761, 0.009), (-0.026, -0.093, 1.234))

#: The integer that stands for full linear light; the darkest byte above black is 1/3295 of it. Sums of both
#: views, from -0.2 to 1.3, fit into 16 bits.
_FULL = 2**14


def mix(left: Pixels, right: Pixels, colours: Anaglyph) -> Pixels:
    """Return the anaglyph of two views, each uint8 RGB, H x W x 3."""
    match colours:
        case Anaglyph.DUBOIS:
            return _mix_least_squares(left, right)
        case Anaglyph.HALF_COLOR:
            mixed = right.copy()
            mixed[..., 0] = _luma(left)
            return mixed
        case Anaglyph.GRAY:
            cyan = _luma(right)
            return np.asarray(cv2.merge((_luma(left), cyan, cyan)), np.uint8)


def _luma(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _mix_least_squares(left: Pixels, right: Pixels) -> Pixels:
    """Return the colours that come closest to both views through the glasses, by Dubois."""
    light = _transform(left, _DUBOIS_LEFT)
    light += _transform(right, _DUBOIS_RIGHT)
    # Read as unsigned, what is negative is large; the table knows.
    return np.asarray(cv2.LUT(light.view(np.uint16), _to_srgb()), np.uint8)


def _transform(rgb: Pixels, matrix: tuple[tuple[float, ...], ...]) -> NDArray[np.int16]:
    return np.asarray(cv2.transform(cv2.LUT(rgb, _to_linear()), np.array(matrix, np.float32)), np.int16)


@cache
def _to_linear() -> NDArray[np.int16]:
    """Return the linear light of each byte, 0 to `_FULL`."""
    return np.asarray(np.rint(_FULL * light_of_bytes()), np.int16)


@cache
def _to_srgb() -> Pixels:
    """Return the byte of each linear light, of all int16 in the order of their bits as unsigned ones."""
    return bytes_of(np.clip(np.arange(2**16, dtype=np.uint16).view(np.int16) / _FULL, 0, 1))
