"""The pictures of meshes and clouds, drawn from small scenes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from docs.scene_views import Points, Surface, Viewpoint, draw_points, draw_surfaces, read_ply

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
FRONT = Viewpoint(width=80, height=60, fov=60)


def points(*placed: tuple[tuple[float, float, float], tuple[int, int, int]]) -> Points:
    places, colours = zip(*placed, strict=True)
    return Points(np.array(places, np.float32), np.array(colours, np.uint8))


def found(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[float, float]:
    """Return the mean row and column of the pixels that are mostly of a colour."""
    channel = int(np.argmax(colour))
    others = np.delete(picture, channel, axis=2).max(axis=2)
    rows, columns = np.nonzero((picture[..., channel] > 60) & (others < 40))
    return float(rows.mean()), float(columns.mean())


def test_what_is_above_and_to_the_right_is_there_in_the_picture():
    picture = draw_points(points(((0.5, 0.3, -2), RED), ((-0.5, -0.3, -2), BLUE)), FRONT)

    focal = 40 / np.tan(np.radians(30))
    assert found(picture, RED) == pytest.approx((30 - focal * 0.15, 40 + focal * 0.25), abs=1)
    assert found(picture, BLUE) == pytest.approx((30 + focal * 0.15, 40 - focal * 0.25), abs=1)


@pytest.mark.parametrize("order", [1, -1])
def test_near_points_cover_far_ones(order: int):
    placed = [((0.0, 0.0, -1.0), RED), ((0.0, 0.0, -4.0), GREEN)][::order]
    picture = draw_points(points(*placed), FRONT)

    assert (picture[..., 0] > 60).any()
    assert not (picture[..., 1] > 60).any()


def test_a_camera_to_the_left_sees_near_things_to_the_right():
    """The scene turns to the left around its middle, so what is nearer moves to the right."""
    scene = points(((0, 0, -1), RED), ((0, 0, -3), BLUE))
    turned = draw_points(scene, Viewpoint(width=80, height=60, fov=60, yaw=15))

    assert found(turned, RED)[1] > 42 > 38 > found(turned, BLUE)[1]


def test_a_surface_has_no_gaps_and_its_picture_upright():
    corners = np.array([[-1, 1, -2], [1, 1, -2], [1, -1, -2], [-1, -1, -2]], np.float32) * 0.4
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 3, 2]])
    texture = np.array([[RED, GREEN], [BLUE, BLUE]], np.uint8)

    picture = draw_surfaces([Surface(corners, uv, triangles, texture)], FRONT)

    inside = picture[8:52, 18:62].reshape(-1, 3).astype(int)
    assert inside.max(axis=1).min() > 100
    assert found(picture, RED)[0] < 30 < found(picture, BLUE)[0]
    assert found(picture, RED)[1] < 40 < found(picture, GREEN)[1]


def test_a_cloud_is_read_from_a_ply():
    data = np.zeros(2, np.dtype([("place", "<f4", 3), ("colour", "u1", 3)]))
    data["place"], data["colour"] = [[1, 2, 3], [4, 5, 6]], [RED, BLUE]
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nend_header\n"

    cloud = read_ply(header + data.tobytes())

    assert cloud.places.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.colours.tolist() == [list(RED), list(BLUE)]
