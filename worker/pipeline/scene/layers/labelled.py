"""The things in a photo that its label picture tells apart, and how near they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

import cv2
import numpy as np

from shared.errors import LabelsInvalid
from worker.pipeline.decode.labels import resize_labels
from worker.pipeline.decode.png_rows import Samples
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.layers.boxes import find_boxes

#: Each label of a photo becomes a layer; a byte numbers them and the layers of the rest.
MOST_LABELS = 240

#: Quartiles are taken over about this many pixels of a label, on a regular grid.
_SAMPLES = 2**18


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What has one label in a photo."""

    label: int
    #: The lower quartile, the median and the upper quartile of nearness, 0 to 1.
    quartiles: tuple[float, float, float]
    #: In pixels of the photo.
    area: int
    #: Top, left, height and width in pixels.
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The things in a photo, by ascending label."""

    #: uint8, H x W: 0 for no thing, else one more than its place in `things`.
    places: Pixels
    things: tuple[Thing, ...]


def find_things(labels: Samples, nearness: Floats) -> Labelled:
    """Return the things in a photo from labels, h x w, of any size, and nearness, H x W; 0 is no label.

    Raises LabelsInvalid for too many of them.
    """
    found = _present(labels)
    if found.size > MOST_LABELS:
        raise LabelsInvalid(
            f"The label picture has {found.size:,} labels; at most {MOST_LABELS} can be layers."
        )
    places = resize_labels(_number(labels, found), *nearness.shape)
    # Smaller than its label picture, a photo may have fewer.
    left = _present(places)
    if left.size < found.size:
        places, found = _number(places, left), found[left - 1]
    return Labelled(places=places, things=tuple(_describe(places, found.tolist(), nearness)))


def _present(labels: Samples) -> Samples:
    """Return the labels that a picture has, ascending, without 0."""
    most = 2 ** (8 * labels.itemsize)
    counts = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [most], [0, most])
    return np.flatnonzero(counts.ravel()[1:]) + 1


def _number(labels: Samples, found: Samples) -> Pixels:
    """Return for each label one more than its place among those found, 0 for others."""
    table = np.zeros(2 ** (8 * labels.itemsize), np.uint8)
    table[found] = np.arange(1, found.size + 1)
    return np.asarray(cv2.LUT(labels, table), np.uint8)


def _describe(places: Pixels, labels: list[int], nearness: Floats) -> Iterator[Thing]:
    boxes = find_boxes(places)
    for place, label in enumerate(labels, start=1):
        top, left = int(boxes.top[place]), int(boxes.left[place])
        bottom, right = int(boxes.bottom[place]), int(boxes.right[place])
        window = slice(top, bottom), slice(left, right)
        yield Thing(
            label=label,
            quartiles=_quartiles(nearness[window], places[window] == place),
            area=int(boxes.area[place]),
            box=(top, left, bottom - top, right - left),
        )


def _quartiles(nearness: Floats, mask: Samples) -> tuple[float, float, float]:
    step = max(1, isqrt(mask.size // _SAMPLES))
    values = nearness[::step, ::step][mask[::step, ::step]]
    if not values.size:
        # It is thin and lies between the grid's lines.
        values = nearness[mask]
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return low, middle, high
