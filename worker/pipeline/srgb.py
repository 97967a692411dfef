"""The curve between the values of sRGB and light, to which they are not proportional (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def light_of_bytes() -> NDArray[np.float64]:
    """Return the light of each byte, 0 to 1."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def bytes_of(light: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the bytes of light, 0 to 1, rounded."""
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * value), np.uint8)
