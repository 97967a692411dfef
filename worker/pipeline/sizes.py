"""Sizes that fit a bound, and pictures brought to a size."""

from __future__ import annotations

import cv2
import numpy as np

from worker.pipeline.photo import Pixels


def fit(height: int, width: int, side: int) -> tuple[int, int]:
    """Scale a size down, never up, until its longer side is at most `side`."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def resize_photo(rgb: Pixels, height: int, width: int) -> Pixels:
    """Return a picture, H x W x 3, at another size, each pixel the mean of its area."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
