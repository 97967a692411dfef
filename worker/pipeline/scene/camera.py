"""The camera that took a photo, and where in space it saw each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians, tan

import numpy as np

from worker.pipeline.photo import Floats

#: The distance of the nearest point: relative depth has no unit.
NEAR = 1.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera without distortion; its axis goes through the middle of the picture."""

    height: int
    width: int
    #: The focal length in pixels.
    focal: float

    @classmethod
    def with_fov(cls, height: int, width: int, fov: float) -> Camera:
        """Return a camera that sees `fov` degrees along the longer side."""
        return cls(height=height, width=width, focal=max(height, width) / (2 * tan(radians(fov) / 2)))


def distances(nearness: Floats, ratio: float) -> Floats:
    """Return how far away along the axis each point is, from its nearness (Rendering.nearness).

    Nearness 1 is at distance 1 and nearness 0 at `ratio`; inverse distance is linear between them:
    z = 1 / (1/far + nearness * (1/near - 1/far)).
    """
    inverse = nearness * np.float32(1 / NEAR - 1 / (ratio * NEAR))
    inverse += np.float32(1 / (ratio * NEAR))
    return np.asarray(np.reciprocal(inverse, out=inverse), np.float32)
