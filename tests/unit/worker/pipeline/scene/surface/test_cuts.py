from __future__ import annotations

import numpy as np
import pytest

from tests.unit.worker.pipeline.scene.surface.surfaces import areas, loose_sides
from worker.pipeline.photo import Floats
from worker.pipeline.scene.surface.cuts import Sheet, cut, sharpen
from worker.pipeline.scene.surface.triangulation import triangulate

STEP = 0.1


def everywhere(smooth: Floats) -> Sheet:
    """Return the sheet of a map with a vertex at each of its points."""
    triangles = triangulate(np.ones_like(smooth), 8, 0)
    return cut(triangles, sharpen(smooth, STEP), smooth, STEP)


def edge_at(column: float, height: int = 16, width: int = 32) -> Floats:
    """Return a map that is 0 left of a column and 1 right of it, with a ramp of one cell."""
    ramp = np.clip(np.arange(width + 1, dtype=np.float32) - np.float32(column - 0.5), 0, 1)
    return np.ascontiguousarray(np.tile(ramp, (height + 1, 1)), np.float32)


def disc(radius: float = 11.3) -> Floats:
    """Return a disc of 0.8 before a ground that rises from 0 to 0.3, 40 x 40, with a ramp of one cell."""
    y, x = np.mgrid[:41, :41].astype(np.float32)
    share = np.clip(radius + 0.5 - np.hypot(x - 20, y - 20), 0, 1)
    return np.asarray(share * 0.8 + (1 - share) * 0.3 * y / 40, np.float32)


@pytest.mark.parametrize("column", [9.1, 9.5, 10.0, 10.3])
def test_a_cut_lies_where_the_ramp_is_half_way(column: float):
    sheet = everywhere(edge_at(column))

    near, far = (sheet.places[sheet.nearness == value, 0] * 32 for value in (1, 0))
    # A ramp that ends within a cell is not straight there.
    assert near.min() == pytest.approx(column, abs=0.1)
    assert far.max() == pytest.approx(column, abs=0.1)


def test_no_triangle_leads_across_a_step():
    sheet = everywhere(disc())

    assert np.ptp(sheet.nearness) > 0.7
    assert np.ptp(sheet.nearness[sheet.triangles], axis=1).max() <= STEP


def test_a_cut_takes_nothing_out_of_the_picture():
    sheet = everywhere(disc())

    assert areas(sheet.places, sheet.triangles).min() > 0
    assert areas(sheet.places, sheet.triangles).sum() == pytest.approx(1)


def test_both_sides_of_a_cut_have_the_same_places():
    sheet = everywhere(disc())
    loose = {end for side in loose_sides(sheet.triangles) for end in side}
    inner = [end for end in loose if sheet.places[end].min() > 0.05 and sheet.places[end].max() < 0.95]
    places = [tuple(sheet.places[end]) for end in inner]

    assert len(places) > 50
    assert all(places.count(place) == 2 for place in places)


def test_what_does_not_step_is_not_cut():
    slope = np.ascontiguousarray(np.tile(np.linspace(0, 1, 41, dtype=np.float32), (41, 1)))
    sheet = everywhere(slope)

    assert sheet.nearness.size == slope.size
    assert areas(sheet.places, sheet.triangles).sum() == pytest.approx(1)


def test_three_surfaces_that_meet_in_a_triangle_are_cut_apart():
    values = np.zeros((9, 9), np.float32)
    values[:, 5:] = 0.5
    values[5:, :5] = 1.0
    triangles = triangulate(np.ones_like(values), 8, 0)
    levels = {0.0, 0.5, 1.0}
    assert any(set(values.ravel()[each]) == levels for each in triangles)
    sheet = cut(triangles, values, values, STEP)

    assert not np.ptp(sheet.nearness[sheet.triangles], axis=1).any()
    assert areas(sheet.places, sheet.triangles).min() > 0
    assert areas(sheet.places, sheet.triangles).sum() == pytest.approx(1)


def test_a_step_that_ends_is_slit_up_to_there():
    values = np.zeros((17, 17), np.float32)
    values[:, 9:] = np.linspace(1, 0, 17, dtype=np.float32)[:, np.newaxis]
    sheet = cut(triangulate(np.ones_like(values), 8, 0), values, values, STEP)

    assert areas(sheet.places, sheet.triangles).sum() == pytest.approx(1)
    assert np.ptp(sheet.nearness[sheet.triangles], axis=1).max() <= STEP


def test_a_large_triangle_is_cut_where_the_step_is_within_it():
    values = edge_at(20)
    corners = triangulate(np.zeros_like(values), 16, 0)
    sheet = cut(corners, sharpen(values, STEP), values, STEP)

    assert sheet.places[sheet.nearness == 1, 0].min() * 32 == pytest.approx(20, abs=0.06)
    assert sheet.places[sheet.nearness == 0, 0].max() * 32 == pytest.approx(20, abs=0.06)


def test_ramps_become_steps_and_slopes_stay():
    ramp = np.array([0, 0, 0, 0.2, 0.5, 0.7, 1, 1, 1, 1, 1.02, 1.04, 1.06, 1.08, 1.1], np.float32)
    sharp = sharpen(np.tile(ramp, (5, 1)), STEP)[2]

    assert set(sharp[:8]) == {np.float32(0), np.float32(1)}
    assert np.array_equal(sharp[8:], ramp[8:])
