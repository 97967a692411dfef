from __future__ import annotations

import numpy as np
import pytest

from tests.unit.worker.pipeline.scene.surface.surfaces import areas
from worker.pipeline.scene.surface.backfill import Backfill, make_backfill
from worker.pipeline.scene.surface.relief import make_relief

HEIGHT, WIDTH = 192, 256
GREEN, RED = (40, 180, 60), (200, 30, 30)


def inside(x: object, y: object, reach: float) -> np.ndarray:
    return np.asarray(
        np.maximum(np.abs(np.asarray(x) - WIDTH / 2), np.abs(np.asarray(y) - HEIGHT / 2)) < reach
    )


def behind_a_square(vertices: int = 250_000) -> Backfill:
    """Return what is behind a red square at 0.9, 80 pixels wide, before a green wall at 0.2."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    is_near = inside(x, y, 40)
    relief = make_relief(np.where(is_near, np.float32(0.9), np.float32(0.2)), 16)
    rgb = np.where(is_near[..., np.newaxis], RED, GREEN).astype(np.uint8)
    made = make_backfill(rgb, relief, vertices)
    assert made is not None
    return made


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_nothing_is_behind_a_map_without_steps(level: float):
    relief = make_relief(np.full((HEIGHT, WIDTH), level, np.float32), 16)

    assert make_backfill(np.zeros((HEIGHT, WIDTH, 3), np.uint8), relief, 250_000) is None


def test_depth_and_colour_are_those_of_the_background():
    made = behind_a_square()

    assert made.sheet.nearness == pytest.approx(np.full(len(made.sheet.nearness), 0.2), abs=1e-5)
    assert np.abs(made.colours.astype(int) - GREEN).max() <= 1


def test_it_lies_under_the_edge_of_the_near_thing_and_a_little_beyond():
    sheet = behind_a_square().sheet
    x, y = sheet.places.T * np.array([[WIDTH], [HEIGHT]], np.float32)

    covered = areas(sheet.places, sheet.triangles)

    assert inside(x, y, 40 + 3 * 4).all()
    assert not inside(x, y, 40 - 0.08 * WIDTH - 3 * 4).any()
    assert covered.min() > 0
    assert covered.sum() * WIDTH * HEIGHT > (2 * (40 + 4)) ** 2 - (2 * (40 - 0.08 * WIDTH)) ** 2


def test_few_vertices_make_a_coarser_sheet():
    fine, coarse = behind_a_square().sheet, behind_a_square(1_000).sheet

    assert 0 < len(coarse.places) < len(fine.places) / 2
    assert len(coarse.places) <= 250


def test_the_ground_goes_on_under_what_stands_on_it():
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    ground = (0.6 * y / HEIGHT).astype(np.float32)
    relief = make_relief(np.where(inside(x, y, 24), np.float32(0.95), ground), 16)
    made = make_backfill(np.zeros((HEIGHT, WIDTH, 3), np.uint8), relief, 250_000)
    assert made is not None

    assert made.sheet.nearness == pytest.approx(0.6 * made.sheet.places[:, 1], abs=0.08)
