from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.fill import fill


def ramp(height: int, width: int) -> np.ndarray:
    return (
        np.linspace(0, 255, width, dtype=np.float32)[np.newaxis, :, np.newaxis].repeat(height, 0).repeat(3, 2)
    )


def test_what_is_known_stays_bit_for_bit():
    rng = np.random.default_rng(1)
    values = rng.random((37, 53, 3), dtype=np.float32)
    known = rng.random((37, 53)) > 0.5

    assert np.array_equal(fill(values, known)[known], values[known])


def test_a_gap_in_a_ramp_is_continued_smoothly():
    values, known = ramp(120, 160), np.ones((120, 160), bool)
    known[40:80, 60:100] = False

    filled = fill(np.where(known[..., np.newaxis], values, np.nan), known)

    assert np.abs(filled - values).max() < 10


def test_one_known_pixel_fills_everything():
    known = np.zeros((9, 31), bool)
    known[7, 3] = True

    assert fill(np.full((9, 31), 7, np.float32), known) == pytest.approx(np.full((9, 31), 7), rel=1e-5)


def test_nothing_known_gives_zeros():
    assert not fill(ramp(5, 8), np.zeros((5, 8), bool)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 1), (65, 64), (97, 131)])
def test_every_size_is_filled_with_what_is_known(shape: tuple[int, int]):
    known = np.zeros(shape, bool)
    known[-1, 0] = True
    values = np.full((*shape, 2), np.nan, np.float32)
    values[-1, 0] = 3, 250

    assert fill(values, known) == pytest.approx(np.broadcast_to([3, 250], (*shape, 2)), rel=1e-5)


def test_a_hole_takes_the_colours_beside_it():
    values = np.zeros((80, 200, 3), np.float32)
    values[:, :100], values[:, 100:] = (200, 0, 0), (0, 0, 90)
    known = np.ones((80, 200), bool)
    known[30:50, 20:40] = known[30:50, 150:170] = False

    filled = fill(np.where(known[..., np.newaxis], values, np.float32(255)), known)

    assert np.abs(filled - values).max() < 0.01
