from __future__ import annotations

from itertools import pairwise
from math import hypot

import pytest

from fathom.options import Motion
from worker.pipeline.scene.motion.path import Shift, shift_at

REACH, RADIUS, FRAMES = 20.0, 500.0, 60


def path(motion: Motion) -> list[Shift]:
    """The shifts of a loop; the first is there again at its end."""
    return [shift_at(motion, number / FRAMES, REACH, RADIUS) for number in range(FRAMES + 1)]


def step(before: Shift, after: Shift) -> float:
    """How far the nearest point in a corner moves from frame to frame, in pixels."""
    forward = (after.forward - before.forward + after.zoom - before.zoom) * RADIUS
    return hypot(after.across - before.across, after.down - before.down) + abs(forward)


@pytest.mark.parametrize("motion", Motion)
def test_a_loop_closes(motion: Motion):
    steps = [step(*pair) for pair in pairwise(path(motion))]

    assert step(path(motion)[0], path(motion)[-1]) < 1e-9
    assert steps[-1] <= max(steps[0], steps[-2]) + 1e-9
    assert max(steps) > 0


@pytest.mark.parametrize("motion", Motion)
def test_the_parallax_is_as_large_as_asked(motion: Motion):
    reach = max(step(one, other) for one in path(motion) for other in path(motion))

    parallax = max(
        hypot(one.across - other.across, one.down - other.down) + abs(one.forward - other.forward) * RADIUS
        for one in path(motion)
        for other in path(motion)
    )

    assert parallax == pytest.approx(REACH, rel=0.01) if motion is not Motion.ZOOM else parallax < reach
