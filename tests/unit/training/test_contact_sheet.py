from __future__ import annotations

import numpy as np
import pytest

from training.contact_sheet import colour, fit_tile


def test_near_is_bright_and_a_constant_map_is_black() -> None:
    heatmap = colour(np.array([[0.0, 0.5, 1.0]], np.float32)).astype(int).sum(-1)

    assert heatmap[0, 0] < heatmap[0, 1] < heatmap[0, 2]
    assert colour(np.full((2, 2), 3, np.float32)).max() <= 4


@pytest.mark.parametrize("size", [(1000, 300), (300, 1000), (7, 7)])
def test_pictures_fit_into_tiles_without_being_cut(size: tuple[int, int]) -> None:
    tile = fit_tile(np.zeros((*size, 3), np.uint8))
    rows, columns = (np.flatnonzero((tile == 0).all(-1).any(axis)) for axis in (1, 0))

    assert tile.shape == (270, 360, 3)
    assert len(rows) / len(columns) == pytest.approx(size[0] / size[1], rel=0.05)
