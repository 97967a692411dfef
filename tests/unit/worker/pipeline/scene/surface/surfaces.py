"""Measure triangles."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray


def areas(places: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the area of each triangle, above 0 if it runs counterclockwise where y points down."""
    a, b, c = (places[triangles[:, corner]].astype(np.float64) for corner in range(3))
    one, other = b - a, c - a
    return np.asarray(-(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2)


def loose_sides(triangles: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return the sides that belong to one triangle only."""
    sides = Counter(
        (int(min(pair)), int(max(pair)))
        for triangle in triangles
        for pair in zip(triangle, np.roll(triangle, 1), strict=True)
    )
    assert max(sides.values()) <= 2
    return [side for side, count in sides.items() if count == 1]


def pieces(triangles: NDArray[np.int32]) -> list[int]:
    """Return how many vertices each connected piece has, the largest first."""
    labels = np.arange(triangles.max() + 1)
    while True:
        lowest = labels[triangles].min(axis=1)
        joined = labels.copy()
        for corner in range(3):
            np.minimum.at(joined, triangles[:, corner], lowest)
        joined = joined[joined]
        if np.array_equal(joined, labels):
            return sorted(np.bincount(labels)[np.unique(labels)].tolist(), reverse=True)
        labels = joined
