from __future__ import annotations

import numpy as np
import pytest

from training.precision import compare


def test_maps_that_differ_in_scale_and_shift_alone_are_equal() -> None:
    values = np.random.default_rng(0).random((8, 9)).astype(np.float32)
    difference = compare([(values, values * 7 - 2)])

    assert difference.photographs == 1
    assert difference.worst_pixel_percent == pytest.approx(0, abs=1e-3)


def test_differences_are_percent_of_each_maps_range() -> None:
    first = np.array([[0.0, 5.0, 10.0, 10.0]], np.float32)
    second = np.array([[0.0, 6.0, 10.0, 10.0]], np.float32)
    difference = compare([(first, second), (first, first)])

    assert difference.worst_pixel_percent == pytest.approx(10)
    assert difference.worst_photograph_percent == pytest.approx(2.5)
    assert difference.mean_percent == pytest.approx(1.25)


def test_a_constant_map_is_all_zeros() -> None:
    flat = np.full((3, 3), 4, np.float32)

    assert compare([(flat, flat + 1)]).worst_pixel_percent == 0
