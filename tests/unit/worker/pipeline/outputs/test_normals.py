from __future__ import annotations

from math import radians, tan
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.pipeline.outputs.readers import read_png, render
from tests.unit.worker.pipeline.pictures import save, texture

PHOTO = save(texture(360, 480), "PNG")


def ramp(across: float, down: float) -> NDArray[np.float32]:
    """Return a prediction that is linear in the picture: a plane."""
    y, x = np.mgrid[0:192, 0:256].astype(np.float32)
    return np.asarray(5 + across * x / 256 + down * y / 256, np.float32)


def normals(depth: NDArray[np.float32], given: dict[str, Any], **options: Any) -> NDArray[np.float64]:
    """Return vectors, h x w x 3."""
    picture = read_png(render(PHOTO, depth, outputs="normals", normals=given, **options)["normals"])
    return picture / (np.iinfo(picture.dtype).max / 2) - 1


def plane(across: float, down: float, *, fov: float = 60.0, ratio: float = 6.0) -> NDArray[np.float64]:
    """Return the normal of the plane whose nearness is linear in the picture and spans 0 to 1.

    Inverse distance is w = 1/ratio + (1 - 1/ratio) nearness. A plane n * P = d has
    w = (n_x x/f - n_y y/f - n_z) / d at the ray (x/f, -y/f, -1).
    """
    whole = abs(across) + abs(down) * 0.75
    rise = 1 - 1 / ratio
    focal = 1 / (2 * tan(radians(fov) / 2))
    normal = np.array([-focal * rise * across / whole, focal * rise * down / whole, 1 / ratio + rise / 2])
    return np.asarray(normal / np.linalg.norm(normal))


@pytest.mark.parametrize("size", ["original", "network"])
@pytest.mark.parametrize(("bits", "colour"), [(8, (128, 128, 255)), (16, (32768, 32768, 65535))])
def test_a_plane_that_faces_the_camera(size: str, bits: int, colour: tuple[int, int, int]):
    depth = np.full((192, 256), 3, np.float32)
    picture = read_png(render(PHOTO, depth, outputs="normals", size=size, normals={"bits": bits})["normals"])

    assert picture.shape == ((192, 256, 3) if size == "network" else (360, 480, 3))
    assert (picture == colour).all()


@pytest.mark.parametrize("size", ["original", "network"])
@pytest.mark.parametrize("edges", ["snap", "smooth"])
@pytest.mark.parametrize(("across", "down"), [(1, 0), (-1, 0), (0, 1), (0, -1), (2, 1), (-1, 3)])
def test_a_tilted_plane_has_its_normal_everywhere(size: str, edges: str, across: float, down: float):
    found = normals(ramp(across, down), {"bits": 16}, size=size, edges=edges)
    inside = found[found.shape[0] // 8 : -found.shape[0] // 8, found.shape[1] // 8 : -found.shape[1] // 8]

    # A prediction has the values of its cells' middles, so nearness reaches 0 and 1 half a cell early.
    assert np.abs(inside - plane(across, down)).max() < 0.006
    assert inside.reshape(-1, 3).std(axis=0).max() < 0.0005


@pytest.mark.parametrize(("fov", "ratio"), [(30.0, 6.0), (90.0, 6.0), (60.0, 2.0), (60.0, 50.0)])
def test_the_angle_follows_field_of_view_and_depth_ratio(fov: float, ratio: float):
    found = normals(ramp(1, 0), {"fov": fov, "depth_ratio": ratio})

    assert found[180, 240] == pytest.approx(plane(1, 0, fov=fov, ratio=ratio), abs=0.012)


def test_what_is_nearer_at_the_right_or_the_bottom_faces_left_or_up():
    assert normals(ramp(1, 0), {})[180, 240][0] < -0.5
    assert normals(ramp(0, 1), {})[180, 240][1] > 0.5


def test_directx_turns_green_around():
    opengl, directx = (normals(ramp(1, -2), {"format": name, "bits": 16}) for name in ("opengl", "directx"))

    assert np.abs(opengl - directx * [1, -1, 1]).max() < 0.0001


@pytest.mark.parametrize("bits", [8, 16])
def test_normals_have_the_length_of_one(bits: int):
    y, x = np.mgrid[0:192, 0:256].astype(np.float32)
    waves = np.asarray(np.sin(x / 40) + np.cos(y / 30), np.float32)
    lengths = np.linalg.norm(normals(waves, {"bits": bits}), axis=-1)

    assert np.abs(lengths - 1).max() < 0.03


def test_both_sides_of_an_edge_keep_their_normals():
    # Two planes that face the camera: only the edge between them, a few pixels wide, does not.
    depth = np.where(np.arange(256) < 128, 1, 2) * np.ones((192, 1))
    found = normals(depth.astype(np.float32), {}, edges="smooth")
    tilted = np.abs(found[180, :, 0]) > 0.1

    assert found[180, :220, 2].min() > 0.99 < found[180, 260:, 2].min()
    assert 0 < tilted.sum() <= 30


def test_rounding_of_a_nearly_flat_map_leaves_no_stairs():
    # Steps of 1/4096 of what the prediction holds, as bfloat16 or a coarse network would leave them.
    y, x = np.mgrid[0:192, 0:256].astype(np.float32)
    smooth = 1000 + 400 * np.exp(-((x - 128) ** 2 + (y - 96) ** 2) / 3000)
    rounded = np.asarray(np.round(smooth, 1), np.float32)
    difference = normals(rounded, {}) - normals(smooth.astype(np.float32), {})

    assert np.abs(difference).max() < 0.03
