from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.conftest import make_sample
from training.augment import BATCH_SHAPES, distort, make_plain_pair, make_training_pair, random_crop
from worker.model.preprocess import MEAN, STD


@pytest.mark.parametrize("shape", BATCH_SHAPES)
def test_pairs_have_the_shape_of_the_batch(shape: tuple[int, int]) -> None:
    picture, inverse = make_training_pair(np.random.default_rng(0), make_sample(), shape)

    assert picture.shape == (3, *shape)
    assert inverse.shape == shape
    assert picture.dtype == inverse.dtype == np.float32


@pytest.mark.parametrize("seed", range(8))
def test_a_random_crop_moves_picture_and_depth_alike(seed: int) -> None:
    # The sample's picture is its depth, so the two must still agree wherever there is no edge.
    image, inverse = random_crop(np.random.default_rng(seed), make_sample(seed=seed), (64, 96))

    assert np.median(np.abs(image.mean(2) * 255 / 230 - inverse)) < 0.01


@pytest.mark.parametrize("seed", range(8))
def test_distortion_keeps_the_range_and_shape_of_a_picture(seed: int) -> None:
    image = make_sample().image.astype(np.float32) / np.float32(255)
    distorted = distort(np.random.default_rng(seed), image)

    assert distorted.shape == image.shape
    assert distorted.min() >= 0
    assert distorted.max() <= 1


def test_the_same_seed_gives_the_same_pair() -> None:
    first, again = (make_training_pair(np.random.default_rng(4), make_sample(), (64, 96)) for _ in range(2))

    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()


def test_a_plain_pair_shows_the_whole_picture_normalised() -> None:
    sample = make_sample()
    picture, inverse = make_plain_pair(sample, sample.image.shape[:2])
    restored = picture.transpose(1, 2, 0) * STD + MEAN

    assert restored * 255 == pytest.approx(sample.image, abs=0.01)
    assert (inverse == sample.inverse_depth).all()
