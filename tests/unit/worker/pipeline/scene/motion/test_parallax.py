"""Frames whose pixels say where in the photo they come from."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fathom.options import Motion
from worker.pipeline.scene.motion.parallax import MovingScene, Planes
from worker.pipeline.scene.motion.path import Shift, shift_at

HEIGHT, WIDTH = 160, 240
FAR, NEAR = 0.1, 0.9
#: The near square: its first and last row and column.
TOP, BOTTOM, LEFT, RIGHT = 40, 120, 80, 160
BEHIND = 255


def two_planes() -> NDArray[np.float32]:
    nearness = np.full((HEIGHT, WIDTH), FAR, np.float32)
    nearness[TOP:BOTTOM, LEFT:RIGHT] = NEAR
    return nearness


def gray(y: NDArray[np.uint8]) -> Planes:
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return Planes(y, chroma, chroma)


def columns() -> NDArray[np.uint8]:
    """A picture whose pixels are the numbers of their columns."""
    return np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))


def moving(
    y: NDArray[np.uint8], nearness: NDArray[np.float32], focus: float, margin: float = 0.0
) -> MovingScene:
    return MovingScene(gray(y), gray(np.full_like(y, BEHIND)), nearness, focus=focus, margin=margin)


def test_at_rest_a_frame_is_the_photo():
    frame = moving(columns(), two_planes(), 0.5).frame(Shift())

    assert np.array_equal(frame.y, columns())


@pytest.mark.parametrize("motion", Motion)
def test_a_plane_in_focus_never_changes_while_the_camera_moves_around_it(motion: Motion):
    scene = moving(columns(), np.full((HEIGHT, WIDTH), 0.5, np.float32), 0.5)
    if motion is Motion.ZOOM:
        return
    for number in range(8):
        frame = scene.frame(shift_at(motion, number / 8, 10, hypot_of_picture()))
        assert np.array_equal(frame.y, columns())


def hypot_of_picture() -> float:
    return float(np.hypot(HEIGHT, WIDTH) / 2)


def test_what_is_near_moves_with_the_shift_and_what_is_far_against_it():
    y = np.full((HEIGHT, WIDTH), 50, np.uint8)
    y[TOP:BOTTOM, LEFT:RIGHT] = 200
    y[10:20, 30:40] = 100

    frame = moving(y, two_planes(), 0.5).frame(Shift(across=20, down=10)).y

    rows, near_columns = np.nonzero(frame == 200)
    assert (rows.min(), rows.max() + 1) == (TOP + 4, BOTTOM + 4)
    assert (near_columns.min(), near_columns.max() + 1) == (LEFT + 8, RIGHT + 8)
    rows, far_columns = np.nonzero(frame == 100)
    assert (rows.min(), far_columns.min()) == (10 - 4, 30 - 8)


def test_what_the_near_side_uncovers_is_taken_from_behind_it():
    frame = moving(columns(), two_planes(), 0.5).frame(Shift(across=20)).y

    middle = frame[(TOP + BOTTOM) // 2].astype(int)
    behind = np.flatnonzero(middle == BEHIND)
    # The near side went 8 pixels to the right, the far side 8 to the left. A pixel of the far side beside the
    # edge is taken from behind too: it may have colours of the near side. The border is soft.
    assert (behind.min(), behind.max() + 1) == (LEFT - 8 - 1, LEFT + 8 - 1)
    assert not (frame[: TOP - 2] == BEHIND).any()


@pytest.mark.parametrize("motion", Motion)
def test_less_than_a_hundredth_of_the_pixels_is_stretched_threefold(motion: Motion):
    scene = moving(columns(), two_planes(), 0.5)

    for number in range(12):
        shift = shift_at(motion, number / 12, 0.02 * WIDTH, hypot_of_picture())
        places = scene.frame(shift).y.astype(int)
        # A step of less than a third of a pixel between two pixels of a frame stretches the photo threefold.
        still = np.lib.stride_tricks.sliding_window_view(places, 4, axis=1)
        stretched = (np.ptp(still, axis=-1) == 0) & (still[..., 0] != BEHIND)
        assert stretched[:, 10:-10].mean() < 0.01


@pytest.mark.parametrize("motion", Motion)
@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
def test_no_frame_shows_the_border_of_the_photo(motion: Motion, focus: float):
    reach = 0.02 * WIDTH
    y = np.full((HEIGHT, WIDTH), 90, np.uint8)
    y[0], y[-1], y[:, 0], y[:, -1] = 0, 0, 0, 0
    margin = max(focus, 1 - focus) * reach / HEIGHT
    nearness = np.random.default_rng(3).random((4, 6), dtype=np.float32).repeat(40, 0).repeat(40, 1)
    scene = moving(y, nearness, focus, margin)

    for number in range(12):
        frame = scene.frame(shift_at(motion, number / 12, reach, hypot_of_picture())).y
        assert frame.min() >= 88


def test_a_scene_of_one_nearness_has_no_seam():
    scene = moving(columns(), np.full((HEIGHT, WIDTH), 0.5, np.float32), 0.2)

    frame = scene.frame(Shift(across=10)).y.astype(int)

    # All of it moves by 3 pixels.
    assert np.abs(frame[:, 10:-10] - (columns().astype(int)[:, 10:-10] - 3)).max() <= 1
