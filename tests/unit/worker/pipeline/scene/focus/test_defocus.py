"""The blur of a lens, on pictures of known radii."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.pipeline.scene.focus.defocus import Defocused, defocus

Floats = NDArray[np.float32]
HEIGHT, WIDTH = 120, 160
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 0.5)


def plane(radius: float) -> Floats:
    return np.full((HEIGHT, WIDTH), radius, np.float32)


def split(left: float, right: float) -> Floats:
    """Return radii of two planes that meet in the middle."""
    radii = plane(left)
    radii[:, WIDTH // 2 :] = right
    return radii


def red_and_blue() -> Floats:
    """Return red light on the left and blue light on the right."""
    light = np.empty((HEIGHT, WIDTH, 3), np.float32)
    light[:, : WIDTH // 2], light[:, WIDTH // 2 :] = RED, BLUE
    return light


def blurred(light: Floats, radii: Floats) -> Floats:
    return defocus(light, radii, radii).merged(light)


@pytest.mark.parametrize("radius", [-12.0, -7.5, -3.0, 2.0, 5.0, 14.0])
def test_a_point_of_light_becomes_a_disc_of_the_radius_and_keeps_its_energy(radius: float):
    light: Floats = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    light[60, 100] = 1

    disc = blurred(light, plane(radius))[..., 0]

    assert disc.sum() == pytest.approx(1, rel=0.01)
    wide = np.sqrt((disc > disc.max() / 2).sum() / np.pi)
    assert wide == pytest.approx(abs(radius), abs=0.4)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    assert disc[np.hypot(rows - 60, columns - 100) > abs(radius) + 4].sum() < 0.02


def test_a_disc_is_even_unlike_that_of_a_gaussian():
    light: Floats = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    light[60, 80] = 1

    disc = blurred(light, plane(-5.0))[..., 0]

    assert disc[60, 77] == pytest.approx(disc[60, 80], rel=0.01)
    assert disc[63, 82] == pytest.approx(disc[60, 80], rel=0.01)


def test_nothing_of_a_sharp_thing_leaks_into_what_is_blurred_behind_it():
    light = red_and_blue()
    result = blurred(light, split(0.0, -8.0))

    assert np.abs(result[:, : WIDTH // 2 - 1] - RED).max() < 1e-4
    assert result[:, WIDTH // 2 + 1 :, 0].max() < 0.01
    assert np.abs(result[:, WIDTH // 2 + 1 :, 2] - BLUE[2]).max() < 0.01


def test_what_is_blurred_before_a_sharp_thing_spreads_over_it():
    light = red_and_blue()
    result = blurred(light, split(8.0, 0.0))
    profile = result[HEIGHT // 2, :, 0]

    # At the edge half of the disc is red; beyond its radius, nothing.
    assert profile[WIDTH // 2 - 1 : WIDTH // 2 + 1].mean() == pytest.approx(0.5, abs=0.06)
    assert np.all(np.diff(profile) <= 1e-5)
    assert profile[WIDTH // 2 + 10 :].max() < 1e-4
    assert profile[: WIDTH // 2 - 10].min() > 0.99
    # The blue that shows through the rim is continued behind it.
    assert result[HEIGHT // 2, WIDTH // 2 - 4, 2] == pytest.approx(
        (1 - profile[WIDTH // 2 - 4]) / 2, abs=0.02
    )


def test_a_slope_through_the_focus_has_no_gap():
    """Slices lie over each other without anything of another colour between them."""
    radii = np.tile(np.linspace(-12, 12, WIDTH, dtype=np.float32), (HEIGHT, 1))
    light: Floats = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)

    assert np.abs(blurred(light, radii) - 0.5).max() < 1e-3


def test_pixels_with_colour_of_nearer_things_do_not_spread():
    """Two columns of red beside the edge belong to the plane behind, as an inexact map says."""
    light = red_and_blue()
    radii = split(0.0, -8.0)
    light[:, WIDTH // 2 : WIDTH // 2 + 2] = RED
    widened = radii.copy()
    widened[:, WIDTH // 2 : WIDTH // 2 + 2] = 0

    result = defocus(light, radii, widened).merged(light)

    assert result[:, WIDTH // 2 + 1 :, 0].max() < 0.01


def test_parts_have_the_shapes_and_ranges_that_they_promise():
    rng = np.random.default_rng(3)
    light = rng.random((HEIGHT, WIDTH, 3), np.float32)
    parts: Defocused = defocus(light, *[split(9.0, -9.0)] * 2)

    assert (parts.behind.shape, parts.front.shape) == ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4))
    assert not parts.sharp.any()
    assert 0 <= parts.front.min() <= parts.front[..., 3].max() <= 1 + 1e-5
