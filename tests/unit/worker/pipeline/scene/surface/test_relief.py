from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.unit.worker.pipeline.scene.surface.surfaces import areas, loose_sides, pieces
from worker.pipeline.photo import Floats
from worker.pipeline.scene.surface.relief import STEP, cells_of, make_relief, make_sheet

RATIO = 6.0


def person(height: int = 192, width: int = 256, rim: float = 0.0) -> Floats:
    """Return a disc of 0.7 before a floor, 0 to 0.4; its outermost 3 pixels are nearer by `rim`."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    floor = 0.4 * y / height
    away = np.hypot(x - width / 2, y - height / 2)
    near = np.where(away > height / 4 - 3, 0.7 + rim, 0.7)
    share = np.clip(height / 4 + 0.5 - away, 0, 1)
    return np.asarray(share * near + (1 - share) * floor, np.float32)


def noise(height: int, width: int) -> Floats:
    rng = np.random.default_rng(5)
    coarse = rng.random((height // 8, width // 8), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


@pytest.mark.parametrize("vertices", [1_000, 3_000, 20_000, 250_000])
@pytest.mark.parametrize("make", [person, noise])
def test_a_sheet_keeps_the_bound_on_its_vertices_and_covers_the_picture(vertices: int, make):
    height, width, tile = cells_of(300, 400, vertices)
    sheet = make_sheet(make_relief(make(height, width), tile), RATIO, vertices)

    assert len(sheet.places) == len(sheet.nearness) <= vertices
    assert areas(sheet.places, sheet.triangles).min() > 0
    assert areas(sheet.places, sheet.triangles).sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(np.unique(sheet.triangles), np.arange(len(sheet.places)))


def test_where_the_map_bends_are_more_vertices():
    sheet = make_sheet(make_relief(person(), 16), RATIO, 250_000)
    away = np.hypot((sheet.places[:, 0] - 0.5) * 256, (sheet.places[:, 1] - 0.5) * 192)
    at_the_edge = np.count_nonzero(np.abs(away - 48) < 3)

    assert at_the_edge > len(away) / 3
    assert len(away) < 193 * 257 / 8


def test_more_vertices_are_closer_to_the_map():
    waves = np.sin(np.arange(256, dtype=np.float32) / 12) * 0.5 + 0.5
    relief = make_relief(np.ascontiguousarray(np.tile(waves, (192, 1))), 32)
    errors = []
    for vertices in (300, 1000, 4000):
        sheet = make_sheet(relief, RATIO, vertices)
        middles = sheet.places[sheet.triangles].mean(axis=1) * (256, 192)
        true = np.interp(middles[:, 0], np.arange(257), relief.sharp[0])
        errors.append(np.abs(sheet.nearness[sheet.triangles].mean(axis=1) - true).mean())

    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]


def test_a_constant_map_is_flat_and_whole():
    sheet = make_sheet(make_relief(np.full((96, 128), 0.5, np.float32), 16), RATIO, 250_000)

    assert (sheet.nearness == 0.5).all()
    assert len(sheet.triangles) == 2 * 6 * 8


def test_no_triangle_leads_across_an_edge():
    sheet = make_sheet(make_relief(person(), 16), RATIO, 250_000)

    assert np.ptp(sheet.nearness[sheet.triangles], axis=1).max() <= STEP


def test_a_rim_stays_with_the_thing_that_it_belongs_to():
    without, with_rim = (make_sheet(make_relief(person(rim=rim), 16), RATIO, 250_000) for rim in (0.0, 0.12))

    assert loose_sides(with_rim.triangles) != []
    assert len(loose_sides(with_rim.triangles)) < 1.05 * len(loose_sides(without.triangles))
    assert with_rim.nearness.max() < 0.75


def leaf(rim: float) -> Floats:
    """Return a pointed thing, whose outermost pixels are nearer by `rim`."""
    y, x = np.mgrid[:192, :256].astype(np.float32)
    inside = (y - 40) * 0.3 - np.abs(x - 128)
    near = np.where(inside > 3, 0.6, 0.6 + rim)
    return np.where(inside > 0, near, 0.1).astype(np.float32)


def test_a_pointed_thing_with_a_rim_is_cut_as_one_without():
    without, with_rim = (make_sheet(make_relief(leaf(rim), 16), RATIO, 250_000) for rim in (0.0, 0.15))

    # Its very tip comes off, which is a cell or two.
    assert [count > 20 for count in pieces(with_rim.triangles)[:3]] == [True, True, False]
    assert len(loose_sides(with_rim.triangles)) < 1.05 * len(loose_sides(without.triangles))


def test_a_thin_thing_is_no_rim():
    cells = np.zeros((96, 128), np.float32)
    cells[:, 60:63] = 0.6

    assert make_relief(cells, 16).sharp.max() == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("height", "width", "cells"),
    [(3000, 4000, (768, 1024)), (32, 32, (32, 32)), (16, 17, (16, 16)), (500, 2000, (256, 1024))],
)
def test_cells_have_the_photos_shape_in_whole_tiles(height: int, width: int, cells: tuple[int, int]):
    assert cells_of(height, width, 250_000) == (*cells, 16)


def test_few_vertices_have_large_tiles():
    height, width, tile = cells_of(3000, 4000, 1_000)

    assert (height // tile + 1) * (width // tile + 1) <= 250
