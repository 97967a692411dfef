"""Layers of scenes whose depth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.layers.cells import cell_extremes, cell_means, cell_size
from worker.pipeline.scene.layers.division import Division, Part, divide_by_depth, divide_by_labels
from worker.pipeline.scene.layers.labelled import find_things
from worker.pipeline.scene.layers.stack import LayerStack, Window

GREEN, RED = (20, 180, 60), (220, 30, 40)


class Drawn:
    """A layer, drawn into a picture of the photo's size: RGB and alpha."""

    def __init__(self, size: tuple[int, int], box: Window, strips: list[tuple[Pixels, Pixels]]) -> None:
        self.box = box
        self.rgb: Pixels = np.zeros((*size, 3), np.uint8)
        self.alpha: Pixels = np.zeros(size, np.uint8)
        self.rgb[box.slices] = np.concatenate([rgb for rgb, _ in strips])
        self.alpha[box.slices] = np.concatenate([alpha for _, alpha in strips])


def draw(
    photo: Pixels, nearness: Floats, *, count: int = 4, bleed: int = 20, labels: Pixels | None = None
) -> list[Drawn]:
    """Return all layers, the farthest first."""
    if labels is None:
        division = divide_by_depth(nearness, nearness, count)
    else:
        division = divide_by_labels(find_things(labels, nearness), nearness, count)
    stack = LayerStack(photo, division, bleed)
    return [Drawn(nearness.shape, layer.box, [*layer.strips()]) for layer in stack.from_top()][::-1]


def draw_halves(photo: Pixels, nearness: Floats) -> list[Drawn]:
    """Return the two layers that are cut at a half."""
    parts = Part(nearness=0.1), Part(nearness=0.9)
    index = (nearness >= 0.5).astype(np.uint8)
    stack = LayerStack(photo, Division(index=index, parts=parts, nearness=nearness, cuts=(0.5,)), 512)
    return [Drawn(nearness.shape, layer.box, [*layer.strips()]) for layer in stack.from_top()][::-1]


def flatten(layers: list[Drawn]) -> NDArray[np.float64]:
    """Lay layers over one another, the first at the bottom; RGB and alpha, alpha 0 to 1."""
    rgb, opaque = np.zeros(layers[0].rgb.shape), np.zeros((*layers[0].alpha.shape, 1))
    for layer in layers:
        alpha = layer.alpha[..., np.newaxis] / 255
        total = alpha + opaque * (1 - alpha)
        mixed = layer.rgb * alpha + rgb * opaque * (1 - alpha)
        rgb, opaque = mixed / np.maximum(total, 1e-9), total
    return np.dstack([rgb, opaque])


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def square(height: int = 200, width: int = 300, soft: bool = False) -> Floats:
    """Return a near square, 50 to 150 by 100 to 200, before a far wall."""
    rows, columns = np.arange(height)[:, np.newaxis], np.arange(width)
    if not soft:
        inside = (rows >= 50) & (rows < 150) & (columns >= 100) & (columns < 200)
        return np.where(inside, 0.9, 0.1).astype(np.float32)
    # Its edges lie within pixels, so there are pixels of every depth.
    cover = np.clip(np.minimum(rows - 49.7, 150.3 - rows), 0, 1) * np.clip(
        np.minimum(columns - 99.4, 200.6 - columns), 0, 1
    )
    return np.asarray(0.1 + 0.8 * cover, np.float32)


def ramp(height: int = 200, width: int = 300) -> Floats:
    return np.linspace(0, 1, height, dtype=np.float32)[:, np.newaxis].repeat(width, 1)


def bumps(height: int, width: int) -> Floats:
    """Return things at many depths with edges of every kind."""
    rows, columns = np.arange(height)[:, np.newaxis] / height, np.arange(width) / width
    waves = 0.25 * np.sin(9 * rows + 4 * columns) * np.cos(13 * columns) + 0.3 * rows
    return np.asarray(np.clip(waves + 0.3 + 0.4 * (waves > 0.2), 0, 1), np.float32)


SCENES = {
    "steps": square(),
    "soft steps": square(soft=True),
    "ramp": ramp(),
    "bumps": bumps(200, 300),
    "larger than its cells": bumps(403, 1301),
    "flat": np.full((33, 47), 0.5, np.float32),
    "wide": bumps(16, 900),
}


@pytest.mark.parametrize("bleed", [0, 20, 512])
@pytest.mark.parametrize("name", SCENES)
def test_layers_flatten_to_the_photo(name: str, bleed: int):
    photo = noise(*SCENES[name].shape)
    flat = flatten(draw(photo, SCENES[name], bleed=bleed))

    assert flat[..., 3].min() == 1
    assert np.abs(np.rint(flat[..., :3]) - photo).max() <= 1


@pytest.mark.parametrize("name", SCENES)
def test_the_photo_is_the_same_afterwards(name: str):
    photo = noise(*SCENES[name].shape)
    draw(photo, SCENES[name])

    assert np.array_equal(photo, noise(*SCENES[name].shape))


@pytest.mark.parametrize("labels", [np.eye(200, 300, dtype=np.uint8) * 9, noise(200, 300)[..., 0] // 8])
def test_layers_of_odd_labels_flatten_to_the_photo(labels: Pixels):
    photo = noise(200, 300)
    flat = flatten(draw(photo, square(), labels=labels))

    assert flat[..., 3].min() == 1
    assert np.abs(np.rint(flat[..., :3]) - photo).max() <= 1


def test_a_constant_map_is_one_layer_that_is_the_photo():
    photo = noise(40, 50)
    (layer,) = draw(photo, np.full((40, 50), 0.5, np.float32))

    assert layer.alpha.min() == 255
    assert np.array_equal(layer.rgb, photo)


def test_each_layer_is_cropped_to_what_it_shows():
    far, near = draw(noise(200, 300), square())

    assert far.box == Window(top=0, left=0, bottom=200, right=300)
    assert (near.box.top, near.box.left) == pytest.approx((50, 100), abs=1)
    assert (near.box.bottom, near.box.right) == pytest.approx((150, 200), abs=1)
    assert (near.alpha[60:140, 110:190] == 255).all()
    assert not near.alpha[:45].any()


def test_an_edge_within_pixels_is_soft_as_far_as_they_are_covered():
    _, near = draw_halves(noise(200, 300), square(soft=True))

    # Row 50 is covered by 30 %, and column 100 by 60 %.
    assert near.alpha[49:52, 150].tolist() == [0, 59, 255]
    assert near.alpha[100, 99:102].tolist() == [0, 162, 255]


def test_a_slope_is_cut_softly_too():
    rows, columns = np.arange(200)[:, np.newaxis], np.arange(300)
    slanted = np.asarray((rows + 0.13 * columns) / 240, np.float32)
    layers = draw(noise(200, 300), slanted)

    assert len(layers) == 4
    for layer in layers[1:]:
        levels = np.unique(layer.alpha)
        assert {0, 255} < {*levels.tolist()}
        assert levels.size > 20


def test_layers_run_from_far_to_near():
    far, *_, near = draw(noise(200, 300), ramp())

    assert far.alpha[0].min() == 255
    assert not far.alpha[-1].any()
    assert near.alpha[-1].min() == 255
    assert not near.alpha[0].any()


@pytest.mark.parametrize("bleed", [0, 1, 8, 20, 32])
def test_a_layer_is_continued_by_bleed_pixels(bleed: int):
    far, _ = draw(noise(200, 300), square(), bleed=bleed)
    row = far.alpha[100, 100:200]

    assert row.tolist() == [255] * bleed + [0] * (100 - 2 * bleed) + [255] * bleed


def test_in_a_large_photo_too_a_layer_is_continued_by_bleed_pixels():
    nearness = np.full((1600, 2200), 0.1, np.float32)
    nearness[500:1100, 803:1407] = 0.9
    far, near = draw(noise(1600, 2200), nearness, bleed=40)

    assert cell_size(1600, 2200) == 4
    assert near.alpha[800, 803:1407].min() == 255
    row = far.alpha[800, 803:1407] > 0
    assert int(row[:300].sum()) == pytest.approx(40, abs=3)
    assert int(row[300:].sum()) == pytest.approx(40, abs=3)
    assert not row[60:540].any()


@pytest.mark.parametrize("scale", [1, 7])
def test_the_continuation_has_colours_of_the_background_alone(scale: int):
    nearness = square().repeat(scale, 0).repeat(scale, 1)
    photo = np.where((nearness > 0.5)[..., np.newaxis], RED, GREEN).astype(np.uint8)
    far, near = draw(photo, nearness, bleed=512)

    assert (far.alpha == 255).all()
    assert np.abs(far.rgb.astype(int) - GREEN).max() <= 1
    assert np.array_equal(near.rgb[near.alpha == 255], photo[near.alpha == 255])


def test_a_soft_edge_is_parted_into_the_colours_of_both_sides():
    nearness = square(soft=True)
    cover = ((nearness - 0.1) / 0.8)[..., np.newaxis]
    photo = np.rint(cover * RED + (1 - cover) * GREEN).astype(np.uint8)
    far, near = draw_halves(photo, nearness)
    soft = (near.alpha > 0) & (near.alpha < 255)

    assert soft.sum() > 300
    # The photo itself is far off there.
    assert np.abs(photo[soft].astype(int) - GREEN).max() > 90
    assert np.abs(far.rgb[soft].astype(int) - GREEN).max() <= 12
    assert (near.rgb[soft][:, 0] > photo[soft][:, 0]).all()
    assert np.abs(np.rint(flatten([far, near])[..., :3]) - photo).max() <= 1


def test_colours_are_black_where_nothing_shows_them():
    for layer in draw(noise(200, 300), square(), bleed=8):
        assert not layer.rgb[layer.alpha == 0].any()


def test_the_ramp_between_two_things_is_no_layer_between_them():
    # A layer at half the depth exists elsewhere, and the square's edge passes through it.
    nearness = square(soft=True)
    nearness[:, :40] = 0.5
    _, middle, near = draw(noise(200, 300), nearness)

    assert not middle.alpha[:, 70:].any()
    assert near.box.left == pytest.approx(100, abs=1)


def test_labels_are_layers_at_their_median_depths():
    nearness = ramp()
    labels = np.zeros((200, 300), np.uint8)
    labels[20:40, 50:80], labels[150:190, 100:200] = 7, 3
    layers = draw(noise(200, 300), nearness, count=3, labels=labels)

    # Label 7 is far, the rest is in the middle, and label 3 is near.
    assert [(layer.box.top, layer.box.left) for layer in layers] == [(0, 30), (0, 0), (149, 99)]
    assert (layers[0].alpha[25:35, 60:70] == 255).all()
    assert (layers[2].alpha[151:189, 101:199] == 255).all()
    assert not layers[2].alpha[:145].any()


def test_cells_have_the_extremes_and_means_of_their_pixels():
    values = np.arange(9 * 11, dtype=np.uint8).reshape(9, 11)
    low, high = cell_extremes(values, 4)

    assert low.tolist() == [[0, 4], [44, 48]]
    assert high.tolist() == [[36, 40], [80, 84]]
    assert cell_means(values, 4).tolist() == [[18, 22], [62, 66]]
