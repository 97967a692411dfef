"""Linear light: what a lens mixes. The bytes of a photo are proportional to nothing that adds up."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.srgb import bytes_of, light_of_bytes

_WORD = 65535


def to_light(rgb: Pixels) -> Floats:
    """Return the light of sRGB bytes, float32 of the same shape, 0 to 1."""
    return np.asarray(cv2.LUT(rgb, _light_of_bytes()), np.float32)


def from_light(light: Floats) -> Pixels:
    """Return light as sRGB bytes, rounded; what is below 0 or above 1 is cut off."""
    # OpenCV's stubs do not know that the second factor may be a number.
    words = cv2.multiply(light, float(_WORD), dtype=cv2.CV_16U)  # type: ignore[call-overload]
    return np.asarray(cv2.LUT(words, _bytes_of_light()), np.uint8)


@cache
def _light_of_bytes() -> Floats:
    return light_of_bytes().astype(np.float32)


@cache
def _bytes_of_light() -> Pixels:
    """Return the byte of each light from 0 to 65535."""
    return bytes_of(np.arange(_WORD + 1) / _WORD)
