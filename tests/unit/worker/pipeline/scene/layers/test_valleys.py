from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.pipeline.scene.layers.valleys import find_cuts


def surfaces(*given: tuple[float, int]) -> NDArray[np.float32]:
    """Return nearness of flat things: normally distributed about each depth, so many pixels of each."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(depth, 0.02, count) for depth, count in given])
    return np.asarray(np.clip(values, 0, 1), np.float32)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_two_things_are_cut_between_them_and_nowhere_else(count: int):
    assert find_cuts(surfaces((0.2, 9000), (0.8, 1000)), count) == pytest.approx([0.5], abs=0.08)


def test_a_gap_without_any_pixel_is_cut_in_its_middle():
    nearness = np.repeat(np.array([0.1, 0.7], np.float32), (900, 100))

    assert find_cuts(nearness, 4) == pytest.approx([0.4], abs=0.01)


def test_three_things_are_cut_at_both_valleys_from_far_to_near():
    cuts = find_cuts(surfaces((0.9, 300), (0.1, 5000), (0.5, 3000)), 4)

    assert cuts == pytest.approx([0.3, 0.7], abs=0.05)


def test_the_deepest_valleys_come_first():
    # Those in the middle overlap, the near one stands alone.
    nearness = np.concatenate([surfaces((0.2, 4000), (0.29, 4000)), surfaces((0.8, 2000))])

    assert find_cuts(nearness, 2) == pytest.approx([0.55], abs=0.1)
    assert find_cuts(nearness, 3) == pytest.approx([0.245, 0.55], abs=0.1)


@pytest.mark.parametrize(
    ("count", "cuts"), [(2, [1 / 2]), (4, [1 / 4, 1 / 2, 3 / 4]), (8, [n / 8 for n in range(1, 8)])]
)
def test_a_floor_without_a_valley_is_cut_into_equal_parts(count: int, cuts: list[float]):
    ramp = np.linspace(0, 1, 10_000, dtype=np.float32)

    assert find_cuts(ramp, count) == pytest.approx(cuts, abs=0.02)


def test_a_thing_on_a_floor_is_cut_off_before_the_floor_is():
    floor = np.linspace(0, 0.6, 8000, dtype=np.float32)
    nearness = np.concatenate([floor, surfaces((0.9, 2000))])

    assert find_cuts(nearness, 2) == pytest.approx([0.72], abs=0.06)
    assert find_cuts(nearness, 3) == pytest.approx([0.3, 0.72], abs=0.06)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_is_not_cut(value: float):
    assert find_cuts(np.full((20, 30), value, np.float32), 8) == ()


def test_a_few_pixels_are_no_layer():
    assert find_cuts(surfaces((0.2, 9990), (0.8, 10)), 4) == ()


def test_nothing_is_not_cut():
    assert find_cuts(np.empty(0, np.float32), 4) == ()
