"""Linear light: what a lens mixes. The bytes of a photo are proportional to nothing that adds up."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from worker.pipeline.photo import Floats, Pixels

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
    """Return the light of each byte. Source of the curve: IEC 61966-2-1 (sRGB)."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _bytes_of_light() -> Pixels:
    """Return the byte of each light from 0 to 65535."""
    light = np.arange(_WORD + 1) / _WORD
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * value), np.uint8)
