from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.pipeline.scene.surface.surfaces import areas, loose_sides
from worker.pipeline.photo import Floats
from worker.pipeline.scene.surface.triangulation import errors_of, triangulate


def deviation(a: Floats, b: Floats, middle: Floats, length: float) -> Floats:
    return np.asarray(np.abs(middle - (a + b) / 2), np.float32)


def bumps(height: int, width: int, seed: int = 3) -> Floats:
    """Return a map that is flat but for a few points."""
    rng = np.random.default_rng(seed)
    values = np.zeros((height + 1, width + 1), np.float32)
    values[rng.integers(0, height, 12), rng.integers(0, width, 12)] = rng.random(12)
    return values


def places(values: Floats) -> NDArray[np.float32]:
    rows, columns = np.divmod(np.arange(values.size), values.shape[1])
    return np.stack([columns, rows], axis=1).astype(np.float32)


@pytest.mark.parametrize("tile", [2, 8, 16])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 80), (64, 16)])
@pytest.mark.parametrize("limit", [0.0, 0.1, 0.4])
def test_triangles_cover_the_map_once_without_cracks(tile: int, height: int, width: int, limit: float):
    values = bumps(height, width)
    triangles = triangulate(errors_of(values, tile, deviation), tile, limit)

    at = places(values)
    assert areas(at, triangles).min() > 0
    assert areas(at, triangles).sum() == height * width
    for pair in loose_sides(triangles):
        ends = at[list(pair)]
        # A crack would be a side within the map that has no other triangle.
        assert any((ends[:, axis] == edge).all() for axis, edge in ((0, 0), (0, width), (1, 0), (1, height)))


def test_a_flat_map_has_two_triangles_a_tile():
    values = np.ones((33, 65), np.float32)

    assert len(triangulate(errors_of(values, 16, deviation), 16, 0)) == 2 * 2 * 4


def test_points_that_deviate_are_vertices_and_few_others_are():
    values = bumps(64, 64)
    triangles = triangulate(errors_of(values, 16, deviation), 16, 0.0)

    used = np.unique(triangles)
    assert set(np.flatnonzero(values.ravel())) <= set(used)
    assert used.size < values.size / 4


def test_vertices_are_the_corners_and_what_exceeds_the_limit():
    values = bumps(64, 64)
    errors = errors_of(values, 16, deviation)

    assert np.unique(triangulate(errors, 16, 0.2)).size == 25 + np.count_nonzero(errors > 0.2)
