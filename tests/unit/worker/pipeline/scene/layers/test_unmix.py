from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.layers.unmix import unmix


def edge(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a photo of 200 before 40 with one column between, alpha, and the rows of that column, 10."""
    values = np.full((16, 21), 40.0)
    values[:, 10], values[:, 11:] = 40 + 160 * share, 200
    alpha = np.zeros(values.shape, np.uint8)
    alpha[:, 10], alpha[:, 11:] = round(255 * share), 255
    return np.rint(values).astype(np.uint8)[..., np.newaxis].repeat(3, 2), alpha, np.arange(16)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_a_mixed_colour_is_parted_into_those_it_was_mixed_from(share: float):
    photo, alpha, rows = edge(share)
    found = unmix(photo, alpha, rows, np.full_like(rows, 10))

    assert (found.far == 40).all()
    assert np.abs(found.near.astype(int) - 200).max() <= 0.5 / share + 1


@pytest.mark.parametrize("seed", range(3))
def test_both_colours_mixed_give_the_photo_within_a_half(seed: int):
    rng = np.random.default_rng(seed)
    photo, alpha = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 256, (40, 50), np.uint8)
    rows, columns = np.nonzero((alpha > 0) & (alpha < 255))
    found = unmix(photo, alpha, rows, columns)
    share = alpha[rows, columns, np.newaxis] / 255

    assert rows.size > 1900
    mixed = share * found.near + (1 - share) * found.far
    assert np.abs(mixed - photo[rows, columns]).max() <= 0.501


def test_no_pixels_are_no_edge():
    nothing = np.empty(0, np.intp)

    assert unmix(*edge(0.5)[:2], nothing, nothing).near.shape == (0, 3)
