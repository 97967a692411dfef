from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from training.metrics import (
    centre_is_nearer,
    edge_f_score,
    lower_is_nearer,
    ordinal_disagreement,
    pair_error,
    read_point,
    score_render,
)


@pytest.fixture
def truth() -> np.ndarray:
    inverse = np.tile(np.linspace(0.1, 0.5, 64, dtype=np.float32)[:, None], (1, 80))
    inverse[20:50, 30:60] = 1.0
    return inverse


def test_a_perfect_map_has_no_error_whatever_its_scale_and_shift(truth: np.ndarray) -> None:
    score = score_render(truth * 40 + 3, truth)

    assert score.absolute_relative == pytest.approx(0, abs=1e-4)
    assert score.beyond_125 == 0
    assert score.edge_f == 1


def test_a_flat_map_is_wrong_nearly_everywhere(truth: np.ndarray) -> None:
    score = score_render(np.ones_like(truth), truth)

    assert score.beyond_125 > 0.6
    assert score.absolute_relative > 0.3


def test_the_sky_is_left_out(truth: np.ndarray) -> None:
    sky = truth.copy()
    sky[:10] = 0
    wrong_there = sky.copy()
    wrong_there[:10] = 5

    assert score_render(wrong_there, sky).beyond_125 == 0


def test_a_known_share_of_wrong_pixels_is_counted(truth: np.ndarray) -> None:
    spoiled = truth.copy()
    spoiled[:, :2] = truth[:, :2] * 2

    assert score_render(spoiled, truth).beyond_125 == pytest.approx(2 / 80, abs=0.01)


@pytest.mark.parametrize(("shift", "low", "high"), [(0, 1.0, 1.0), (2, 0.85, 1.0), (12, 0.0, 0.5)])
def test_edges_count_when_they_are_within_two_pixels(
    truth: np.ndarray, shift: int, low: float, high: float
) -> None:
    moved = np.roll(truth, shift, 1)

    assert low <= edge_f_score(moved, truth) <= high


def test_blur_lowers_the_edge_score(truth: np.ndarray) -> None:
    noisy = cv2.GaussianBlur(truth, (0, 0), 8) + np.random.default_rng(0).normal(0, 0.05, truth.shape)

    assert edge_f_score(noisy.astype(np.float32), truth) < 0.6


def test_a_picture_without_edges_scores_one() -> None:
    assert (
        edge_f_score(np.random.default_rng(0).random((20, 20), np.float32), np.ones((20, 20), np.float32))
        == 1
    )


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.0), (-1, 1.0)])
def test_ordinal_disagreement_is_zero_for_the_truth_and_one_for_its_inverse(
    truth: np.ndarray, sign: int, expected: float
) -> None:
    assert ordinal_disagreement(sign * truth, truth) == expected


def test_unknown_pixels_are_in_no_pair(truth: np.ndarray) -> None:
    holes = truth.copy()
    holes[:, :40] = 0
    spoiled = truth.copy()
    spoiled[:, :40] = -7

    assert ordinal_disagreement(spoiled, holes) == 0


def test_without_a_pair_that_differs_the_disagreement_is_unknown() -> None:
    assert math.isnan(ordinal_disagreement(np.ones((5, 5), np.float32), np.ones((5, 5), np.float32)))


def test_a_labelled_pair_is_wrong_when_the_first_point_is_not_nearer() -> None:
    values = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1))
    right, wrong, equal = ((0.9, 0.5), (0.1, 0.5)), ((0.2, 0.5), (0.7, 0.5)), ((0.5, 0.1), (0.5, 0.9))

    assert pair_error(values, [right]) == 0
    assert pair_error(values, [right, wrong, equal, right]) == 0.5


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0), (0.999, 0.0)])
def test_points_on_the_border_can_be_read(point: tuple[float, float]) -> None:
    assert read_point(np.full((7, 9), 3, np.float32), point) == 3


def test_the_baselines_say_what_their_names_say() -> None:
    lower, centre = lower_is_nearer(5, 7), centre_is_nearer(5, 7)

    assert lower.shape == centre.shape == (5, 7)
    assert (np.diff(lower, axis=0) > 0).all()
    assert centre.argmax() == np.ravel_multi_index((2, 3), centre.shape)
