"""Edges that follow the photo: where they lie, and that nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worker.pipeline.depth import resize, upsample
from worker.pipeline.edges import Guide, Steps, find_steps, make_guide
from worker.pipeline.scratch import Scratch
from worker.pipeline.snapped import SnappedUpsampler
from worker.pipeline.upsample import Upsampler

Map = NDArray[np.float32]
CELLS = 192, 256


def two_colours(height: int, width: int, edge: float) -> NDArray[np.uint8]:
    """A picture whose right part, from the share `edge` of its width on, is red; with a little grain."""
    picture = np.full((height, width, 3), (60, 90, 80), np.int16)
    picture[:, round(edge * width) :] = (170, 60, 50)
    grain = np.random.default_rng(0).integers(-8, 9, picture.shape)
    return np.asarray(np.clip(picture + grain, 0, 255), np.uint8)


def ramp_at(cell: float, width: float = 4.0) -> Map:
    """A prediction that rises from 100 to 300 around a cell, as a network blurs an edge."""
    rise = 1 / (1 + np.exp(-(np.arange(CELLS[1]) + 0.5 - cell) * (4 / width)))
    return np.tile(np.float32(100) + np.float32(200) * rise.astype(np.float32), (CELLS[0], 1))


def guide_for(picture: NDArray[np.uint8], height: int, width: int) -> Guide:
    guide = make_guide(picture, height, width, CELLS)
    assert guide is not None
    return guide


def snapped(prediction: Map, picture: NDArray[np.uint8], height: int, width: int) -> Map:
    return upsample(prediction, height, width, Scratch(), guide_for(picture, height, width)).values


def smooth(prediction: Map, height: int, width: int) -> Map:
    return upsample(prediction, height, width, Scratch()).values


def bumpy(seed: int = 3) -> Map:
    """A prediction with slopes, steps and a thing in front of them."""
    rng = np.random.default_rng(seed)
    noise = cv2.blur(rng.random(CELLS, np.float32), (31, 31)) * 900
    values = np.where(noise > np.median(noise), noise + 60, noise).astype(np.float32)
    cv2.circle(values, (180, 60), 30, float(values.max() + 100), -1)
    return cv2.blur(values, (4, 4)).astype(np.float32)


def patchwork(height: int, width: int, seed: int = 4) -> NDArray[np.uint8]:
    """A picture of coloured patches, each about as large as a hand."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(768, 1024), (480, 640), (1500, 2000)])
@pytest.mark.parametrize("off", [-1.5, 0.0, 1.5])
def test_a_step_lands_on_the_photos_edge(height: int, width: int, off: float) -> None:
    edge = 0.5
    depth = snapped(ramp_at(edge * CELLS[1] + off), two_colours(height, width, edge), height, width)
    share = (depth - 100) / 200
    crossing = (share[height // 8 : -height // 8] < 0.5).sum(axis=1)

    assert np.abs(crossing - edge * width).max() <= max(2.0, 2 * width / 1024)


def test_hardly_any_pixel_flies_between_the_two_sides_of_a_step() -> None:
    prediction, picture = ramp_at(129.5), two_colours(768, 1024, 0.5)
    beside = slice(500, 525)

    def flying(depth: Map) -> float:
        share = (depth[:, beside] - 100) / 200
        return float(((share > 0.2) & (share < 0.8)).mean())

    assert (
        flying(snapped(prediction, picture, 768, 1024)) < 0.05 < 0.3 < flying(smooth(prediction, 768, 1024))
    )


@pytest.mark.parametrize(("height", "width"), [(768, 1024), (3000, 4000)])
def test_a_slope_under_a_checkerboard_does_not_change_at_all(height: int, width: int) -> None:
    across, down = np.meshgrid(np.arange(CELLS[1]), np.arange(CELLS[0]))
    slope = (3.0 * across + 2.0 * down).astype(np.float32)
    board = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((64, 64))).astype(np.uint8) * 255

    assert find_steps(slope, guide_for(np.dstack([board] * 3), height, width)) is None


def test_where_the_map_does_not_step_nothing_changes_to_the_bit() -> None:
    prediction = ramp_at(64) + np.linspace(0, 20, CELLS[1], dtype=np.float32)
    before = smooth(prediction, 3000, 4000)
    after = snapped(prediction, two_colours(750, 1000, 0.25), 3000, 4000)

    # Six cells for a step and what is near it, two for the kernel.
    away = slice(round((64 + 12) / 256 * 4000), None)
    assert (after[:, away] == before[:, away]).all()
    assert (after[:, 900:1100] != before[:, 900:1100]).any()


@pytest.mark.parametrize(
    ("scale", "shift"), [(1e-4, 0.0), (1e-30, 0.0), (1e30, 0.0), (1000.0, 0.0), (1.0, 2000.0), (0.01, -5.0)]
)
def test_scale_and_shift_of_the_prediction_are_kept(scale: float, shift: float) -> None:
    prediction, picture = bumpy(), patchwork(750, 1000)
    plain = snapped(prediction, picture, 750, 1000)
    moved = snapped((prediction * scale + shift).astype(np.float32), picture, 750, 1000)

    apart = np.abs((moved - shift) / scale - plain) / (plain.max() - plain.min())
    # Rounding may move a byte of the sides; steepened it is a few hundredths.
    assert apart.mean() < 1e-4
    assert apart.max() < 0.05


def whole(steps: Steps, height: int, width: int) -> Map:
    """The map as one formula."""
    size = width, height
    far, rise = (cv2.resize(v, size, interpolation=cv2.INTER_CUBIC) for v in (steps.far, steps.rise))
    rows, columns = steps.side.shape
    wide = cv2.resize(steps.side, (width, rows), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    side = cv2.resize(
        (wide - 127.5) * max(1.0, width / columns) / 255 + 0.5, size, interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(far + rise * np.clip(side, 0, 1), np.float32)


@pytest.mark.parametrize(("height", "width"), [(1500, 2000), (751, 1003), (480, 640), (2731, 3643)])
def test_strips_make_the_whole(height: int, width: int) -> None:
    steps = find_steps(bumpy(), guide_for(patchwork(750, 1000), height, width))
    assert steps is not None
    upsampler = SnappedUpsampler(steps, height, width, Scratch())
    expected = whole(steps, height, width)
    span = expected.max() - expected.min()

    made = np.concatenate([strip.copy() for _, strip in upsampler.strips()])
    upward = np.concatenate([strip[::-1].copy() for strip in upsampler.strips_upward()])[::-1]
    assert np.abs(made - expected).max() <= 1e-6 * span
    assert (made == upward).all()
    assert (made == upsampler.whole()).all()


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (750, 1000), (4000, 3000), (2999, 1111)])
@pytest.mark.parametrize("seed", [3, 5])
def test_the_extremes_are_those_of_the_new_map(height: int, width: int, seed: int) -> None:
    depth = upsample(bumpy(seed), height, width, Scratch(), guide_for(patchwork(750, 1000), height, width))
    values = depth.values

    assert (depth.low, depth.high) == (values.min(), values.max())
    assert isinstance(depth.upsampler, SnappedUpsampler)


def test_edges_at_another_size_follow_the_photo_too() -> None:
    prediction, picture = ramp_at(129.5), two_colours(768, 1024, 0.5)
    depth = upsample(prediction, 768, 1024, Scratch(), guide_for(picture, 768, 1024))
    small = resize(depth, 384, 512, Scratch()).values

    assert np.abs((small < 200).sum(axis=1) - 256).max() <= 2


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6])
def test_a_constant_map_has_no_steps(value: float) -> None:
    prediction = np.full(CELLS, value, np.float32)

    assert find_steps(prediction, guide_for(patchwork(750, 1000), 750, 1000)) is None


def test_a_small_thing_before_a_flat_wall_is_a_step() -> None:
    prediction = np.full(CELLS, 5, np.float32)
    prediction[90:100, 120:130] = 9

    assert find_steps(prediction, guide_for(patchwork(750, 1000), 750, 1000)) is not None


@pytest.mark.parametrize(("height", "width"), [(192, 256), (16, 16), (100, 2000)])
def test_a_photo_no_larger_than_the_prediction_tells_nothing(height: int, width: int) -> None:
    assert make_guide(patchwork(height, width), height, width, CELLS) is None


@pytest.mark.parametrize("reduced", [1, 2, 4])
def test_a_photo_decoded_smaller_tells_the_same(reduced: int) -> None:
    picture = two_colours(1501, 2003, 0.5)
    size = 2003 // reduced, 1501 // reduced
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    crossing = (snapped(ramp_at(129.5), small, 1501, 2003)[150:-150] < 200).sum(axis=1)

    assert np.abs(crossing - 0.5 * 2003).max() <= 4


def test_a_photo_of_one_colour_leaves_its_side_to_the_map() -> None:
    prediction = ramp_at(128)
    grey = np.full((768, 1024, 3), 90, np.uint8)
    crossing = (snapped(prediction, grey, 768, 1024) < 200).sum(axis=1)

    assert np.abs(crossing - 512).max() <= 4


def test_a_plain_upsampler_at_another_size_is_as_if_made_anew() -> None:
    again = Upsampler(bumpy(), 700, 900, Scratch()).resized(300, 400, Scratch()).whole()

    assert (again == Upsampler(bumpy(), 300, 400, Scratch()).whole()).all()


@pytest.mark.parametrize("cells", [(98, 126), (70, 98), (96, 128)])
@pytest.mark.parametrize("fold", [2, 3])
def test_edges_follow_the_photo_for_predictions_of_other_multiples(cells: tuple[int, int], fold: int):
    scale = {2: 2, 3: 5}[fold]
    height, width = scale * cells[0], scale * cells[1]
    picture = two_colours(height, width, 0.5)
    rise = 1 / (1 + np.exp(-(np.arange(cells[1]) + 0.5 - cells[1] / 2)))
    prediction = np.tile(100 + 200 * rise.astype(np.float32), (cells[0], 1))
    guide = make_guide(picture, height, width, cells)
    assert guide is not None

    values = upsample(prediction, height, width, Scratch(), guide).values

    middle, margin = width // 2, 2 * fold
    assert values[:, middle - margin].max() < 120
    assert values[:, middle + margin].min() > 280
    assert guide.fold == fold


def test_a_larger_block_decides_as_smaller_ones_do():
    picture = patchwork(700, 900)
    prediction = np.asarray(cv2.resize(bumpy(), (112, 84), interpolation=cv2.INTER_AREA), np.float32)
    whole = make_guide(picture, 700, 900, (84, 112))
    assert whole is not None
    steps = find_steps(prediction, whole)
    # Two rows less are no multiple of 4, so blocks are smaller.
    planes = np.ascontiguousarray(whole.planes[:, : 82 * whole.fold])
    fewer = find_steps(prediction[:82], Guide(planes=planes, fold=whole.fold, gain=whole.gain))
    assert steps is not None
    assert fewer is not None

    # Beside steps, nothing depends on the side.
    on = np.kron(steps.rise[:60] > 0, np.ones((whole.fold, whole.fold), bool))
    rows = 60 * whole.fold
    difference = np.abs(steps.side[:rows].astype(int) - fewer.side[:rows])[on]
    assert on.sum() > 1000
    # The range of the prediction is another, but little.
    assert np.mean(difference > 8) < 0.01
