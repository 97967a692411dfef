"""The motion of a camera before a scene, for clips that loop."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from fathom.options import Motion

#: An orbit is flatter than wide, as eyes move.
_FLATNESS = 0.6
#: How much of a plain zoom is parallax: some, so that it does not look like a picture that grows.
_PARALLAX_OF_ZOOM = 0.4


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How the points of a photo move in one frame.

    A point at (x, y) from the middle whose nearness is n beyond the focus moves by
    `n * (across, down) + (n * forward + zoom) * (x, y)`, in pixels.
    """

    across: float = 0.0
    down: float = 0.0
    forward: float = 0.0
    zoom: float = 0.0

    @property
    def grows(self) -> bool:
        """Whether points move away from the middle."""
        return self.forward != 0 or self.zoom != 0


def shift_at(motion: Motion, time: float, reach: float, radius: float) -> Shift:
    """Return the shift at a time of 0 to 1, which are the same moment.

    The nearest point moves past the farthest one by at most `reach` pixels, in a picture whose corners are
    `radius` pixels from its middle.
    """
    turn = 2 * pi * time
    # From 0 to 1 and back, at rest at both ends.
    there_and_back = (1 - cos(turn)) / 2
    match motion:
        case Motion.SWAY:
            return Shift(across=reach / 2 * sin(turn))
        case Motion.ORBIT:
            return Shift(across=reach / 2 * cos(turn), down=_FLATNESS * reach / 2 * sin(turn))
        case Motion.DOLLY:
            return Shift(forward=reach / radius * there_and_back)
        case Motion.ZOOM:
            grow = reach / radius * there_and_back
            return Shift(forward=_PARALLAX_OF_ZOOM * grow, zoom=grow)
