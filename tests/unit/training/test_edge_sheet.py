from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.edge_sheet import PART, find_part, make_row, make_sheet
from worker.model.checkpoint import read_network


@pytest.mark.parametrize(
    ("shape", "at", "part"),
    [
        ((500, 700), (300, 400), (300 - PART + 1, 400 - PART + 1)),
        ((500, 700), (0, 0), (0, 0)),
        ((500, 700), (499, 699), (500 - PART, 700 - PART)),
        ((100, 700), (50, 699), (0, 700 - PART)),
        ((100, 90), (50, 50), (0, 0)),
    ],
)
def test_the_part_with_the_most_change_is_shown(
    shape: tuple[int, int], at: tuple[int, int], part: tuple[int, int]
) -> None:
    change = np.zeros(shape, np.float32)
    change[at] = 1

    assert find_part(change) == part


def test_a_row_shows_the_photo_pixel_by_pixel_beside_three_maps(untrained: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (PART, PART, 3)).astype(np.uint8)

    row = make_row(read_network(untrained), picture)

    assert row.shape == (PART, 4 * PART + 3 * 4, 3)
    assert (row[:, :PART] == picture).all()
    assert make_sheet([row, row]).shape == (2 * PART + 4, row.shape[1], 3)
