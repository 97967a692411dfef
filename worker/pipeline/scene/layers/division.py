"""Divide a photo into layers: which of them each pixel belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import cv2
import numpy as np

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.layers.cells import to_mask
from worker.pipeline.scene.layers.labelled import Labelled
from worker.pipeline.scene.layers.valleys import BINS, find_cuts

#: Histograms and medians are taken over about this many pixels, on a regular grid.
_SAMPLES = 2**16


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a layer is made of."""

    #: The median of its nearness, 0 to 1.
    nearness: float
    #: None if it was cut by depth.
    label: int | None = None


@dataclass(frozen=True, kw_only=True)
class Division:
    """Which part of a photo each pixel belongs to."""

    #: uint8, H x W: the number of its part, of which 0 is the farthest.
    index: Pixels
    parts: tuple[Part, ...]
    #: If all parts are cut by depth, nearness, H x W, and where it is cut: they place edges within pixels.
    nearness: Floats | None = None
    cuts: tuple[float, ...] = ()


def divide_by_depth(sample: Floats, nearness: Floats, count: int) -> Division:
    """Divide a photo at the valleys of its nearness into at most `count` parts, from far to near.

    `sample` has values of nearness, of any shape; it may be taken before near things are widened.
    """
    cuts = find_cuts(sample, count)
    parts = tuple(Part(nearness=median) for median in _medians(sample, cuts))
    return Division(index=_classes(nearness, cuts), parts=parts, nearness=nearness, cuts=cuts)


def divide_by_labels(labelled: Labelled, nearness: Floats, count: int) -> Division:
    """Make each thing of a photo a part, and divide the rest by depth, so that there are `count` if possible.

    The rest has at least one part, if there is any. Parts are ordered by their medians.
    """
    step = _step(nearness)
    rest = labelled.places[::step, ::step] == 0
    sample = nearness[::step, ::step][rest]
    cuts = find_cuts(sample, max(1, count - len(labelled.things)))
    things = [Part(nearness=thing.quartiles[1], label=thing.label) for thing in labelled.things]
    rests = [Part(nearness=median) for median in _medians(sample, cuts)]
    # Without a pixel on the grid, the rest may still have some.
    parts = [*(rests or _thin_rest(labelled, nearness)), *things]
    order = sorted(range(len(parts)), key=lambda number: parts[number].nearness)
    numbers = np.zeros(256, np.uint8)
    numbers[order] = np.arange(len(parts))
    index = _merge(labelled.places, nearness, cuts, len(parts) - len(things))
    return Division(
        index=np.asarray(cv2.LUT(index, numbers), np.uint8), parts=tuple(parts[number] for number in order)
    )


def _thin_rest(labelled: Labelled, nearness: Floats) -> Iterator[Part]:
    rest = labelled.places == 0
    if rest.any():
        yield Part(nearness=float(np.median(nearness[rest])))


def _merge(places: Pixels, nearness: Floats, cuts: Sequence[float], rests: int) -> Pixels:
    """Number the parts of the rest from 0, and the things after them."""
    # 0 may become 255 here, and is overwritten.
    index = places + np.uint8((rests - 1) % 256)
    cv2.copyTo(_classes(nearness, cuts), to_mask(places == 0), index)
    return index


def _classes(nearness: Floats, cuts: Sequence[float]) -> Pixels:
    """Return how many cuts lie below each value."""
    # Cuts lie between bins. A half less makes rounding take the bin below.
    bins = cv2.convertScaleAbs(nearness, alpha=BINS, beta=-0.5)
    table = np.searchsorted(np.rint(np.array(cuts) * BINS), np.arange(BINS), side="right").astype(np.uint8)
    return np.asarray(cv2.LUT(bins, table), np.uint8)


def _medians(sample: Floats, cuts: Sequence[float]) -> list[float]:
    """Return the median between each two cuts."""
    if not sample.size:
        return []
    classes = np.searchsorted(np.array(cuts, np.float32), sample.ravel(), side="right")
    return [float(np.median(sample.ravel()[classes == number])) for number in range(len(cuts) + 1)]


def sample_of(nearness: Floats) -> Floats:
    """Return enough values of nearness, H x W, to tell how it is distributed."""
    step = _step(nearness)
    return nearness[::step, ::step].copy()


def _step(values: Floats) -> int:
    return max(1, isqrt(values.size // _SAMPLES))
