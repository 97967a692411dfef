"""Scenes of planes, whose views can be told in pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.pipeline.pictures import draw_whole
from worker.pipeline.scene.stereo.view import View
from worker.pipeline.scene.stereo.warp import Eye, Viewpoint, find_shifts

HEIGHT, WIDTH = 96, 320
RED = (230, 30, 30)
#: How far the nearest point moves.
TRAVEL = 16

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def viewpoint(eye: Eye = Eye.RIGHT, margin: float = 0.0, convergence: float = 0.0) -> Viewpoint:
    return Viewpoint(eye=eye, travel=TRAVEL / WIDTH, convergence=convergence, margin=margin)


def background(seed: int = 3) -> Pixels:
    """A picture of greens and blues without any red."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(60, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    picture[..., 0] = 0
    return picture


def with_plane(columns: slice, nearness: float = 1.0) -> tuple[Pixels, Floats]:
    """A red plane before a background at infinity, and the nearness of both."""
    picture, near = background(), np.zeros((HEIGHT, WIDTH), np.float32)
    picture[:, columns] = RED
    near[:, columns] = nearness
    return picture, near


def see(picture: Pixels, nearness: Floats, at: Viewpoint) -> Pixels:
    return draw_whole(View(picture, find_shifts(nearness, at), at))


def is_red(picture: Pixels) -> NDArray[np.bool_]:
    return picture[..., 0] > 115


@pytest.mark.parametrize(("eye", "moves"), [(Eye.LEFT, TRAVEL), (Eye.RIGHT, -TRAVEL)])
def test_near_points_move_to_the_right_for_the_left_eye_and_far_ones_stay(eye: Eye, moves: int) -> None:
    picture, nearness = with_plane(slice(140, 200))
    seen = see(picture, nearness, viewpoint(eye))

    red = np.zeros(WIDTH, bool)
    red[140 + moves : 200 + moves] = True
    assert np.array_equal(is_red(seen), np.broadcast_to(red, (HEIGHT, WIDTH)))
    assert np.array_equal(seen[:, :124], picture[:, :124])
    assert np.array_equal(seen[:, 216:], picture[:, 216:])


def test_points_at_the_convergence_stay() -> None:
    picture, nearness = with_plane(slice(140, 200), nearness=0.5)
    seen = see(picture, nearness, viewpoint(convergence=0.5))

    assert np.array_equal(seen[:, 140:200], picture[:, 140:200])
    # Far points move the other way.
    assert np.array_equal(seen[:, 40:120], picture[:, 32:112])


def test_half_a_pixel_is_interpolated() -> None:
    picture = background()
    nearness = np.full((HEIGHT, WIDTH), 0.5 / TRAVEL, np.float32)
    seen = see(picture, nearness, viewpoint())

    between = (picture[:, :-1].astype(int) + picture[:, 1:]) / 2
    assert np.abs(seen[:, 1:-2] - between[:, 1:-1]).max() <= 1


@pytest.mark.parametrize("eye", list(Eye))
def test_what_comes_into_sight_is_background_and_nothing_is_left_empty(eye: Eye) -> None:
    picture, nearness = with_plane(slice(140, 200))
    seen = see(picture, nearness, viewpoint(eye))

    uncovered = slice(140, 156) if eye is Eye.LEFT else slice(184, 200)
    assert seen[:, uncovered, 0].max() == 0
    assert seen[:, uncovered, 1:].min() >= 60


@pytest.mark.parametrize("eye", list(Eye))
def test_background_is_not_continued_by_another_plane_beside_it(eye: Eye) -> None:
    picture, nearness = with_plane(slice(140, 200))
    # Of the background between both planes, two columns can be seen; the hole is sixteen wide.
    for columns in (slice(100, 134), slice(206, 240)):
        picture[:, columns], nearness[:, columns] = RED, 0.25
    seen = see(picture, nearness, viewpoint(eye))

    uncovered = slice(138, 156) if eye is Eye.LEFT else slice(184, 202)
    assert not is_red(seen)[:, uncovered].any()


def test_the_nearest_of_three_planes_is_in_front() -> None:
    picture, nearness = with_plane(slice(140, 200), nearness=0.5)
    picture[:, 200:260], nearness[:, 200:260] = (250, 250, 0), 1.0
    seen = see(picture, nearness, viewpoint())

    # It comes from 200 to 184 and covers the red plane, which ended at 192.
    assert tuple(seen[50, 184]) == (250, 250, 0)
    assert tuple(seen[50, 183]) == RED


def test_background_shows_between_a_thin_thing_and_the_place_it_left() -> None:
    picture, nearness = with_plane(slice(160, 164))
    seen = see(picture, nearness, viewpoint())

    kept = np.ones(WIDTH, bool)
    # Where it is now, and where it was.
    kept[144:148] = kept[160:164] = False
    assert np.array_equal(seen[:, kept], picture[:, kept])
    assert is_red(seen)[:, 144:148].all()
    assert not is_red(seen)[:, 160:164].any()


def test_no_background_shows_through_a_stretched_foreground() -> None:
    picture, nearness = with_plane(slice(100, 220))
    # A slope that stretches 14 columns to 26, in front of the background.
    nearness[:, 150:164] = np.linspace(1.0, 0.25, 14, dtype=np.float32)
    nearness[:, 164:220] = 0.25
    seen = see(picture, nearness, viewpoint())

    assert is_red(seen)[:, 84:216].all()


def test_the_margin_is_cut_off_on_all_sides_and_the_rest_is_scaled_up() -> None:
    picture = background()
    nearness = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    seen = see(picture, nearness, viewpoint(margin=0.25, convergence=0.5))

    inner = picture[24:72, 80:240]
    assert np.array_equal(seen[2::8, 2::8], inner[1::4, 1::4])
    assert seen.shape == picture.shape


@pytest.mark.parametrize("eye", list(Eye))
def test_a_smaller_map_leaves_edges_as_sharp(eye: Eye) -> None:
    picture, nearness = with_plane(slice(120, 200))
    # Hidden in the one view or the other. Were shifts interpolated, a squeezed copy of it would show at the edge.
    picture[:, 100:118] = picture[:, 202:220] = (255, 255, 255)
    seen = see(picture, np.ascontiguousarray(nearness[::4, ::4]), viewpoint(eye))
    moved = slice(120 + TRAVEL * eye, 200 + TRAVEL * eye)

    hidden = slice(200, 216) if eye is Eye.LEFT else slice(104, 120)
    assert (seen[:, moved] == RED).all()
    assert (seen[:, hidden] == RED).all()


def test_a_slanted_edge_of_a_smaller_map_has_no_steps() -> None:
    # A photo that tells where it was sampled: its green counts the columns.
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[..., 1] = np.arange(WIDTH) % 256
    at = 4 * np.mgrid[0 : HEIGHT // 4, 0 : WIDTH // 4] + 1.5
    nearness = (at[1] >= 100 + at[0]).astype(np.float32)
    seen = see(picture, nearness, viewpoint())

    is_near = seen[:, :240, 1] - np.arange(240, dtype=np.uint8) == TRAVEL
    edge = is_near.argmax(axis=1) - np.arange(HEIGHT)
    # With the nearest value, it would go 3 to and fro.
    assert np.ptp(edge[4:-4]) <= 1


def test_a_constant_map_shifts_the_whole_photo() -> None:
    picture = background()
    seen = see(picture, np.full((HEIGHT, WIDTH), 0.5, np.float32), viewpoint(convergence=0.5))

    assert np.array_equal(seen, picture)
