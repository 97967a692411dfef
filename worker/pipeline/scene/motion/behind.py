"""What lies behind the near sides of edges: their surroundings, continued."""

from __future__ import annotations

import cv2
import numpy as np

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.fill import fill

#: Nearness by which a pixel must stand before the farthest thing around it to be in front.
_FRONT = 0.06
#: The longer side of the picture that is filled: what nobody has seen needs no more detail.
_LONG_SIDE = 480


def without_front(rgb: Pixels, nearness: Floats, reach: float) -> Pixels:
    """Return a picture, uint8 h x w x 3, without what stands before something else within `reach` pixels.

    Its place is taken by a smooth continuation of what is farther.
    """
    height, width = nearness.shape
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(nearness, size, interpolation=cv2.INTER_AREA), np.float32)
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    around = 2 * max(1, round(reach * scale)) + 1
    front = small - _erode(small, around) > _FRONT
    # The ramp of an edge, and a pixel beyond it, have colours of both sides.
    front = cv2.dilate(front.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    # Deeper inside, it is no background either.
    known = ~front & (small - _erode(small, 3 * around) <= _FRONT)
    filled = fill(picture.astype(np.float32), known)
    back = np.where(front[..., np.newaxis], filled, picture).round().astype(np.uint8)
    wide = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(front.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.where(mask[..., np.newaxis] > 0, wide, rgb), np.uint8)


def _erode(values: Floats, side: int) -> Floats:
    return np.asarray(cv2.erode(values, np.ones((side, side), np.uint8)), np.float32)
