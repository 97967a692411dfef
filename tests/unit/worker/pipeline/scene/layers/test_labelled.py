from __future__ import annotations

import numpy as np
import pytest

from shared.errors import LabelsInvalid
from worker.pipeline.photo import Floats
from worker.pipeline.scene.layers.labelled import MOST_LABELS, find_things


def ramp(height: int, width: int) -> Floats:
    """Return nearness that rises from 0 in the first row to 1 in the last."""
    return np.linspace(0, 1, height, dtype=np.float32)[:, np.newaxis].repeat(width, 1)


def test_a_thing_has_its_quartiles_area_and_box():
    labels = np.zeros((101, 80), np.uint16)
    labels[20:61, 10:30] = 700
    labels[90, 5:75] = 2
    found = find_things(labels, ramp(101, 80))

    assert [thing.label for thing in found.things] == [2, 700]
    line, block = found.things
    assert line.quartiles == pytest.approx((0.9, 0.9, 0.9))
    assert (line.area, line.box) == (70, (90, 5, 1, 70))
    assert block.quartiles == pytest.approx((0.3, 0.4, 0.5))
    assert (block.area, block.box) == (820, (20, 10, 41, 20))
    assert np.array_equal(found.places, np.select([labels == 2, labels == 700], [1, 2]))


def test_smaller_labels_are_those_of_the_photos_pixels():
    labels = np.array([[0, 5], [9, 9]], np.uint8)
    things = find_things(labels, ramp(100, 200)).things

    assert [(thing.label, thing.area, thing.box) for thing in things] == [
        (5, 5000, (0, 100, 50, 100)),
        (9, 10_000, (50, 0, 50, 200)),
    ]
    assert things[1].quartiles[1] == pytest.approx(74.5 / 99)


def test_a_label_too_small_for_the_photo_is_left_out():
    labels = np.full((64, 64), 3, np.uint8)
    labels[0, 0], labels[32:, :] = 1, 8
    found = find_things(labels, ramp(16, 16))

    assert [thing.label for thing in found.things] == [3, 8]
    assert np.array_equal(found.places[:, 0], [1] * 8 + [2] * 8)


def test_a_thin_thing_in_a_large_photo_has_its_median():
    labels = np.zeros((1200, 1100), np.uint8)
    labels[np.arange(1, 1200, 2), 7], labels[0, 0] = 4, 4
    labels[1199, 1099] = 4
    (thing,) = find_things(labels, ramp(1200, 1100)).things

    assert thing.area == 602
    assert 0 <= thing.quartiles[0] <= thing.quartiles[1] <= thing.quartiles[2] <= 1


def test_no_label_is_no_thing():
    assert find_things(np.zeros((20, 20), np.uint8), ramp(20, 20)).things == ()


def test_too_many_labels_are_refused():
    most = np.arange(MOST_LABELS + 1, dtype=np.uint16).reshape(1, -1).repeat(4, 0)

    assert len(find_things(most, ramp(*most.shape)).things) == MOST_LABELS
    with pytest.raises(LabelsInvalid, match="241 labels; at most 240 can be layers"):
        find_things(most + 1, ramp(*most.shape))
