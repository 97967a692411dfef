from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fathom.options import Quality
from shared.networks import MIDAS_SMALL
from worker.model.preprocess import network_size, prepare
from worker.pipeline.detail import inputs_of

#: The input of 384 pixels that shows more detail.
LARGER = inputs_of(MIDAS_SMALL.preprocessing, Quality.DETAILED)[-1]


def official_size(height: int, width: int) -> tuple[int, int]:
    """Follow `Resize.get_size` of the official code: 256 x 256, upper bound, multiple of 32."""
    scale_height, scale_width = 256 / height, 256 / width
    if scale_width < scale_height:
        scale_height = scale_width
    else:
        scale_width = scale_height

    def constrain(x: float) -> int:
        rounded = int(np.round(x / 32) * 32)
        return int(np.floor(x / 32) * 32) if rounded > 256 else rounded

    return constrain(scale_height * height), constrain(scale_width * width)


def official_input(rgb: NDArray[np.uint8]) -> NDArray[Any]:
    """Follow the official transform: everything in floating point, resized by OpenCV."""
    height, width = network_size(*rgb.shape[:2])
    resized = cv2.resize(rgb / 255.0, (width, height), interpolation=cv2.INTER_CUBIC)
    normalised = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return normalised.transpose(2, 0, 1)[np.newaxis]


@pytest.mark.parametrize(
    ("photo", "size"),
    [
        ((480, 640), (192, 256)),
        ((640, 480), (256, 192)),
        ((3000, 4000), (192, 256)),
        ((2000, 3000), (160, 256)),
        ((1080, 1920), (128, 256)),
        ((1000, 1000), (256, 256)),
        ((16, 16), (256, 256)),
        ((500, 5000), (32, 256)),
        ((1, 10_000), (32, 256)),
        ((10_000, 1), (256, 32)),
    ],
)
def test_the_longer_side_is_256_and_both_are_multiples_of_32(photo: tuple[int, int], size: tuple[int, int]):
    assert network_size(*photo) == size


@given(st.integers(1, 12_000), st.integers(1, 12_000))
def test_the_size_is_the_official_one_but_never_less_than_32(height: int, width: int):
    official = official_size(height, width)

    assert network_size(height, width) == (max(official[0], 32), max(official[1], 32))


@given(st.integers(1, 12_000), st.integers(1, 12_000))
def test_a_larger_size_has_the_same_shape_within_a_multiple(height: int, width: int):
    small, large = network_size(height, width), network_size(height, width, LARGER)

    assert max(large) == 384
    assert all(side % 32 == 0 for side in large)
    assert all(abs(of_384 - 1.5 * of_256) <= 40 for of_256, of_384 in zip(small, large, strict=True))


def test_there_are_fifteen_sizes_in_all():
    sizes = {network_size(h, w) for h in range(1, 600, 7) for w in range(1, 600, 7)}

    assert len(sizes) == 15


@pytest.mark.parametrize("shape", [(480, 640), (2400, 1800), (100, 75)])
def test_a_larger_input_shows_the_same_picture(shape: tuple[int, int]):
    rgb = np.full((*shape, 3), 40, np.uint8)
    rgb[:, shape[1] // 2 :] = 200

    small, large = prepare(rgb), prepare(rgb, LARGER)

    assert large.shape == (1, 3, *network_size(*shape, LARGER))
    assert large[0, :, 5, 5] == pytest.approx(small[0, :, 5, 5], abs=1e-5)
    assert large[0, :, -5, -5] == pytest.approx(small[0, :, -5, -5], abs=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        (480, 640),
        (2400, 1800),
        (1080, 1920),
        (100, 75),
        (16, 16),
        (17, 301),
        (5000, 50),
        (1, 1),
        (2, 300),
        (256, 256),
    ],
)
def test_the_input_is_the_official_one(shape: tuple[int, int]):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    batch = prepare(rgb)

    assert batch.shape == (1, 3, *network_size(*shape))
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    # The official code resizes in double precision; values reach 8 where noise overshoots.
    assert np.abs(batch - official_input(rgb)).max() < 1e-5


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda rgb: rgb[:, ::-1], id="mirrored"),
        pytest.param(lambda rgb: rgb.transpose(1, 0, 2), id="turned"),
        pytest.param(lambda rgb: rgb[::2, ::3], id="thinned"),
        pytest.param(lambda rgb: rgb[..., ::-1], id="channels swapped"),
    ],
)
def test_a_view_is_prepared_like_a_copy_of_it(view: Any):
    rgb = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)

    assert np.array_equal(prepare(view(rgb)), prepare(view(rgb).copy()))


def test_the_photo_is_not_changed():
    rgb = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    before = rgb.copy()
    rgb.flags.writeable = False

    prepare(rgb)

    assert np.array_equal(rgb, before)


def test_black_and_white_become_the_ends_of_the_normalised_range():
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)

    assert prepare(black)[0, :, 128, 128] == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert prepare(white)[0, :, 128, 128] == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])
