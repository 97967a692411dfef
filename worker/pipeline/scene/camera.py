"""The camera that took a photo, and where in space it saw each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, degrees, hypot, radians, tan

import numpy as np

from worker.pipeline.decode.exif import equivalent_focal_length
from worker.pipeline.photo import Floats

#: The distance of the nearest point: relative depth has no unit.
NEAR = 1.0

#: How many times as far as the nearest point the farthest one is, for outputs that do not let people choose.
DEPTH_RATIO = 6.0

#: The diagonal of 35 mm film in millimetres.
_FILM = hypot(36, 24)

#: Fields of view, in degrees along the longer side, that a lens may have. Beyond them, its EXIF is wrong.
_PLAUSIBLE = 5.0, 150.0


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

    @property
    def fov(self) -> float:
        """The field of view along the longer side, in degrees."""
        return degrees(2 * atan(max(self.height, self.width) / (2 * self.focal)))


def camera_of(source: bytes, height: int, width: int, fov: float) -> Camera:
    """Return the camera of a photo, upright height x width, whose file is `source`.

    It has the focal length that its EXIF gives, if that is plausible, and else sees `fov` degrees along the
    longer side. A focal length on 35 mm film is compared along the diagonal (CIPA DCG-001): sensors have
    other shapes.
    """
    length = equivalent_focal_length(source)
    if length is not None:
        camera = Camera(height=height, width=width, focal=length * hypot(height, width) / _FILM)
        if _PLAUSIBLE[0] <= camera.fov <= _PLAUSIBLE[1]:
            return camera
    return Camera.with_fov(height, width, fov)


def distances(nearness: Floats, ratio: float) -> Floats:
    """Return how far away along the axis each point is, from its nearness (Rendering.nearness).

    Nearness 1 is at distance 1 and nearness 0 at `ratio`; inverse distance is linear between them:
    z = 1 / (1/far + nearness * (1/near - 1/far)).
    """
    inverse = inverse_distances(nearness, ratio)
    return np.asarray(np.reciprocal(inverse, out=inverse), np.float32)


def inverse_distances(nearness: Floats, ratio: float) -> Floats:
    """Return 1 / `distances`."""
    inverse = nearness * np.float32(1 / NEAR - 1 / (ratio * NEAR))
    inverse += np.float32(1 / (ratio * NEAR))
    return np.asarray(inverse, np.float32)
