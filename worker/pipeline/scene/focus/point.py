"""What is in focus."""

from __future__ import annotations

from worker.pipeline.photo import Floats


def nearness_in_focus(nearness: Floats, focus: tuple[float, ...]) -> float:
    """Return the nearness in focus: a number as it is, or that of a point x, y of a map, h x w.

    The coordinates of a point are from 0 to 1, from the left and the top.
    """
    if len(focus) == 1:
        return focus[0]
    height, width = nearness.shape
    x, y = focus
    return float(nearness[min(int(y * height), height - 1), min(int(x * width), width - 1)])
