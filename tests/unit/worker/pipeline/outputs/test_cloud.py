"""The cloud, as plyfile and trimesh read it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import plyfile
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from tests.unit.worker.pipeline.outputs.scenes import portrait, render, render_picture
from tests.unit.worker.pipeline.pictures import save_turned
from worker.pipeline.outputs.cloud import grid_of, on_ramps

FOCAL = 200 / 2 / np.tan(np.radians(30))


def read(ply: bytes) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return positions and colours, n x 3."""
    points = plyfile.PlyData.read(io.BytesIO(ply))["vertex"]
    positions = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float64)
    return positions, np.stack([points[channel] for channel in ("red", "green", "blue")], axis=1)


def cloud_of(picture: NDArray[np.uint8], **cloud: Any) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    return read(render_picture(picture, outputs="cloud", cloud=cloud).data)


def pixels_of(positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the column and the row of the pixel that each point of a photo of 150 x 200 is seen at."""
    x, y, z = positions.T
    at = np.stack([100 + FOCAL * x / -z, 75 - FOCAL * y / -z], axis=1)
    assert np.abs(at - np.floor(at) - 0.5).max() < 1e-3
    return np.asarray(np.floor(at), np.intp)


def test_the_file_has_its_name_and_its_types():
    file = render_picture(portrait(), outputs="cloud")
    header = plyfile.PlyData.read(io.BytesIO(file.data))

    assert (file.output, file.file_name) == ("cloud", "cloud.ply")
    assert (header.text, header.byte_order) == (False, "<")
    assert [(each.name, each.val_dtype) for each in header["vertex"].properties] == [
        *((axis, "f4") for axis in "xyz"),
        *((channel, "u1") for channel in ("red", "green", "blue")),
    ]
    assert header.comments[0] == "Fathom"


def test_each_point_has_the_colour_of_the_pixel_it_is_seen_at():
    photo = portrait()
    positions, colours = cloud_of(photo)
    columns, rows = pixels_of(positions).T

    assert np.array_equal(photo[rows, columns], colours)
    assert len(set(zip(columns.tolist(), rows.tolist(), strict=True))) == len(colours)


def test_trimesh_reads_the_same():
    ply = render_picture(portrait(), outputs="cloud").data
    positions, colours = read(ply)
    cloud = trimesh.load(io.BytesIO(ply), file_type="ply")

    assert isinstance(cloud, trimesh.PointCloud)
    assert np.array_equal(cloud.vertices, positions)
    assert np.array_equal(cloud.colors[:, :3], colours)


def test_axes_of_opencv_have_y_down_and_z_forward():
    opengl, colours = cloud_of(portrait())
    opencv, same = cloud_of(portrait(), axes="opencv")

    assert np.array_equal(opencv, opengl * [1, -1, -1])
    assert np.array_equal(colours, same)
    assert opengl[:, 2].max() < 0 < opencv[:, 2].min()
    # The bottom of the photo is below the camera.
    assert opengl[-1, 1] < 0 < opencv[-1, 1]


@pytest.mark.parametrize("ratio", [2.0, 6.0, 50.0])
def test_distances_run_from_1_to_the_ratio(ratio: float):
    positions, _ = cloud_of(portrait(), depth_ratio=ratio)

    # The fine pattern counts as no depth, so nothing may be quite as near as its brightest pixel.
    assert -positions[:, 2].max() == pytest.approx(1, abs=0.1)
    assert -positions[:, 2].min() == pytest.approx(ratio, rel=0.05)


def test_no_point_flies_between_the_disc_and_what_is_behind_it():
    positions, colours = cloud_of(portrait(), depth_ratio=6)
    nearness = (-1 / positions[:, 2] - 1 / 6) / (1 - 1 / 6)
    columns, rows = pixels_of(positions).T
    away = np.hypot(columns - 80, rows - 75)
    around_the_edge = np.abs(away - 45) < 6

    assert around_the_edge.sum() > 1000
    near, far = nearness[away < 39], nearness[(away > 51) & (away < 60)]
    middle = (near.mean() + far.mean()) / 2
    spread = near.mean() - far.mean()
    assert spread > 0.5
    assert (np.abs(nearness[around_the_edge] - middle) > 0.2 * spread).all()
    # Few are dropped, and only there.
    assert 0.9 < len(colours) / (150 * 200) < 1


def test_ramps_are_what_is_dropped():
    ramp = np.tile(np.array([0, 0, 0, 0.03, 0.5, 0.98, 1, 1, 1], np.float32), (7, 1))
    slope = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (7, 1))

    assert on_ramps(ramp)[3].tolist() == [False] * 4 + [True] + [False] * 4
    assert not on_ramps(slope).any()


@pytest.mark.parametrize("points", [1_000, 7_000])
def test_the_number_of_points_has_its_bound(points: int):
    positions, _ = cloud_of(np.full((150, 200, 3), 90, np.uint8), points=points)

    assert 0.95 * points < len(positions) <= points


@pytest.mark.parametrize(
    ("height", "width", "points"),
    [(3000, 4000, 1_000_000), (150, 200, 1_000), (16, 66_000, 1_000), (4000, 20, 5_000), (32, 32, 1_000)],
)
def test_a_grid_has_the_photos_shape(height: int, width: int, points: int):
    rows, columns = grid_of(height, width, points)

    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert 0.75 * points < rows * columns <= points


def test_a_photo_with_fewer_pixels_than_points_has_one_for_each():
    assert grid_of(150, 200, 1_000_000) == (150, 200)


def test_fewer_points_have_the_mean_colours_of_their_pixels():
    stripes = np.zeros((150, 200, 3), np.uint8)
    stripes[:, ::2] = 200
    _, colours = cloud_of(stripes, points=7_500)

    assert (colours == 100).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_cloud_is_upright(orientation: int):
    positions, colours = read(render(save_turned(portrait(), "PNG", orientation), outputs="cloud").data)
    columns, rows = pixels_of(positions).T

    assert np.array_equal(portrait()[rows, columns], colours)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 400), (33, 97)])
def test_any_shape_has_its_points(height: int, width: int):
    positions, _ = cloud_of(portrait(height, width))

    assert 0.8 * height * width < len(positions) <= height * width


def test_a_gray_photo_has_gray_points():
    picture = Image.fromarray(portrait()).convert("L")
    _, colours = read(render_picture(picture, outputs="cloud").data)

    assert np.ptp(colours.astype(int), axis=1).max() == 0


def test_a_constant_photo_is_a_flat_cloud():
    positions, colours = cloud_of(np.full((96, 128, 3), 90, np.uint8))

    assert len(positions) == 96 * 128
    assert np.ptp(positions[:, 2]) == 0
    assert (colours == 90).all()
