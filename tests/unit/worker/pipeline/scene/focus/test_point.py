from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.focus.point import nearness_in_focus

NEARNESS = (np.arange(12).reshape(3, 4) / 12).astype(np.float32)


def test_a_number_is_in_focus_as_it_is():
    assert nearness_in_focus(NEARNESS, (0.3,)) == 0.3


@pytest.mark.parametrize(
    ("point", "expected"), [((0.0, 0.0), 0), ((1.0, 0.0), 3), ((0.3, 0.5), 5), ((1.0, 1.0), 11)]
)
def test_a_point_is_in_focus_with_the_nearness_that_it_has(point: tuple[float, float], expected: int):
    assert nearness_in_focus(NEARNESS, point) == pytest.approx(expected / 12)
