"""Resizing, ranges and quantisation, also with the values of a broken network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from shared.jobs.job import Range
from worker.pipeline.depth import DepthMap, is_flat, own_range, to_bytes, upsample, word_strips
from worker.pipeline.scratch import Scratch


def prediction(height: int = 192, width: int = 256) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return (cv2.blur(rng.random((height, width), np.float32), (9, 9)) * 900 + 50).astype(np.float32)


def depth_of(values: NDArray[np.float32]) -> DepthMap:
    return upsample(values, values.shape[0], values.shape[1], Scratch())


def words_of(depth: DepthMap) -> NDArray[np.uint16]:
    return np.concatenate(list(word_strips(depth)))


def test_the_map_has_the_photos_size_and_its_own_extremes() -> None:
    depth = upsample(prediction(), 750, 1000, Scratch())

    assert depth.values.shape == (750, 1000)
    assert depth.values.dtype == np.float32
    assert (depth.low, depth.high) == (depth.values.min(), depth.values.max())
    assert depth.non_finite == 0


def rough(kind: str) -> NDArray[np.float32]:
    """Predictions that no network would make, with extremes where they are least expected."""
    rng = np.random.default_rng(8)
    values = {
        "noise": rng.random((192, 256)),
        "steps": rng.random((192, 256)) > 0.5,
        "walk": rng.standard_normal((192, 256)).cumsum(axis=1) - 40,
        "slope": np.add.outer(np.arange(192.0), 2 * np.arange(256.0)),
        "corners": np.pad([[9.0]], ((0, 191), (0, 255))) - np.pad([[9.0]], ((191, 0), (255, 0))),
    }[kind]
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("kind", ["noise", "steps", "walk", "slope", "corners"])
@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (2999, 301), (1700, 900)])
def test_the_extremes_are_found_wherever_they_are(kind: str, height: int, width: int) -> None:
    depth = upsample(rough(kind), height, width, Scratch())
    values = depth.values

    assert (depth.low, depth.high) == (values.min(), values.max())


def test_resizing_comes_before_normalising_so_that_overshoot_is_in_range() -> None:
    step = np.zeros((32, 32), np.float32)
    step[:, 16:] = 1
    depth = upsample(step, 320, 320, Scratch())

    assert depth.high > 1.01
    assert depth.low < -0.01
    assert to_bytes(depth, own_range(depth, (0.0, 100.0)), Scratch()).max() == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_become_zero_and_are_counted(bad: float) -> None:
    values = prediction()
    values[3:5, 7] = bad
    depth = upsample(values, 500, 400, Scratch())

    assert depth.non_finite == 2
    assert np.isfinite(depth.values).all()
    assert depth.low < 10


def test_a_map_of_nothing_but_nan_is_all_zeros() -> None:
    depth = upsample(np.full((32, 32), np.nan, np.float32), 100, 80, Scratch())

    assert depth.non_finite == 32 * 32
    assert depth.is_constant
    assert not to_bytes(depth, own_range(depth, (0.0, 100.0)), Scratch()).any()
    assert not words_of(depth).any()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 7.3, 1234.567, 1e6])
@pytest.mark.parametrize("clip", [(0.0, 100.0), (2.0, 98.0)])
def test_a_constant_map_gives_zeros_in_spite_of_rounding(value: float, clip: tuple[float, float]) -> None:
    depth = upsample(np.full((192, 256), value, np.float32), 333, 477, Scratch())

    assert depth.is_constant
    assert not to_bytes(depth, own_range(depth, clip), Scratch()).any()
    assert not words_of(depth).any()


def test_bytes_are_rounded_over_the_whole_range() -> None:
    depth = depth_of(prediction())
    indices = to_bytes(depth, own_range(depth, (0.0, 100.0)), Scratch())

    exact = 255 * (depth.values.astype(np.float64) - depth.low) / (depth.high - depth.low)
    assert indices.dtype == np.uint8
    assert (indices.min(), indices.max()) == (0, 255)
    assert np.abs(indices - exact).max() < 0.51


@pytest.mark.parametrize("span", [(400.0, 500.0), (-1000.0, 3000.0), (5000.0, 6000.0), (-6000.0, -5000.0)])
def test_values_outside_of_a_common_range_are_clipped_and_never_wrap(span: tuple[float, float]) -> None:
    depth = depth_of(prediction())
    indices = to_bytes(depth, Range(low=span[0], high=span[1]), Scratch())

    exact = np.clip(255 * (depth.values.astype(np.float64) - span[0]) / (span[1] - span[0]), 0, 255)
    assert np.abs(indices - exact).max() < 0.51


@pytest.mark.parametrize("clip", [(2.0, 98.0), (0.0, 50.0), (25.0, 100.0)])
def test_percentiles_leave_their_share_outside(clip: tuple[float, float]) -> None:
    depth = upsample(prediction(), 1500, 2000, Scratch())
    span = own_range(depth, clip)

    exact = np.percentile(depth.values, clip)
    assert np.allclose([span.low, span.high], exact, rtol=2e-3)


def test_16_bit_values_restore_depth_within_a_65535th_of_the_range() -> None:
    depth = upsample(prediction(), 300, 400, Scratch())
    words = words_of(depth)

    undone = depth.low + words.astype(np.float64) / 65535 * (depth.high - depth.low)
    assert words.dtype == np.uint16
    assert (words.min(), words.max()) == (0, 65535)
    assert np.abs(undone - depth.values).max() <= 0.51 * (depth.high - depth.low) / 65535


@pytest.mark.parametrize(
    ("low", "high", "flat"),
    [(0, 0, True), (1, 1.0000001, True), (0, 1e-9, False), (5, 6, False), (-1, 1, False)],
)
def test_a_range_within_rounding_errors_is_flat(low: float, high: float, flat: bool) -> None:
    assert is_flat(Range(low=low, high=high)) is flat


def test_reused_buffers_keep_nothing_of_earlier_pictures() -> None:
    scratch = Scratch()
    first = upsample(prediction(), 600, 800, scratch).values
    second = upsample(prediction(64, 64), 200, 300, scratch).values

    assert np.shares_memory(first, second)
    assert np.array_equal(second, upsample(prediction(64, 64), 200, 300, Scratch()).values)


def test_buffers_of_a_huge_picture_are_not_kept() -> None:
    scratch = Scratch()
    first = scratch.take("depth", (6000, 6000), np.float32)
    second = scratch.take("depth", (6000, 6000), np.float32)

    assert not np.shares_memory(first, second)


def maps() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(8)
    spike = np.zeros((192, 256), np.float32)
    spike[190, 1] = 1
    return {
        "smooth": prediction(),
        "noise": rng.standard_normal((192, 256)).astype(np.float32),
        "spike in a corner": spike,
        "ramp": np.linspace(-5, 9, 192 * 256, dtype=np.float32).reshape(192, 256),
        "tiny": rng.random((32, 256), np.float32),
    }


@pytest.mark.parametrize("name", maps())
@pytest.mark.parametrize(
    "size",
    [(3000, 4000), (1501, 2003), (193, 257), (192, 256), (50, 60), (16, 4000), (4000, 16), (2, 70_000)],
)
def test_strips_equal_the_resize_of_the_whole_map_and_have_its_range(
    name: str, size: tuple[int, int]
) -> None:
    small = maps()[name]
    depth = upsample(small, *size, Scratch())
    values = depth.values
    whole = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)

    assert np.abs(values - whole).max() <= 2e-6 * np.abs(small).max()
    assert (depth.low, depth.high) == (values.min(), values.max())


def test_strips_come_in_order_and_make_up_the_map() -> None:
    depth = upsample(prediction(), 1501, 999, Scratch())
    tops, strips = zip(*((top, strip.copy()) for top, strip in depth.upsampler.strips()), strict=True)

    assert list(tops) == sorted(tops)
    assert all(top % 2 == 0 for top in tops)
    assert np.array_equal(np.concatenate(strips), depth.values)


def test_only_few_strips_are_computed_to_find_the_range_of_a_smooth_map() -> None:
    class CountingScratch(Scratch):
        taken = 0

        def take(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            self.taken += name == "strip"
            return super().take(name, shape, dtype)

    bump = np.exp(-((np.mgrid[-1:1:192j, -1:1:256j] - 0.2) ** 2).sum(axis=0)).astype(np.float32)
    scratch = CountingScratch()
    depth = upsample(bump, 3000, 4000, scratch)

    assert 0 < scratch.taken < 20 < len(list(depth.upsampler.strips()))
