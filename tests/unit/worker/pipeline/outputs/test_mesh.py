"""The mesh, as trimesh and pygltflib read it, and as a pinhole camera sees it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import ExifTags, Image

from shared.jobs.job import Range
from tests.unit.worker.pipeline.outputs.scenes import draw, portrait, render, render_picture
from tests.unit.worker.pipeline.pictures import lay, save, save_turned, texture
from tests.unit.worker.pipeline.scene.surface.surfaces import areas
from worker.pipeline.scene.surface.relief import STEP

RATIO = 6.0


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A mesh of a GLB as trimesh reads it."""

    positions: NDArray[np.float64]
    #: From the top left.
    places: NDArray[np.float64]
    triangles: NDArray[np.int64]
    picture: NDArray[np.uint8]

    @property
    def nearness(self) -> NDArray[np.float64]:
        """How near each vertex is, 0 to 1, undone from its distance."""
        return np.asarray((-1 / self.positions[:, 2] - 1 / RATIO) / (1 - 1 / RATIO))


def surfaces(glb: bytes) -> dict[str, Surface]:
    scene = trimesh.load_scene(io.BytesIO(glb), file_type="glb", process=False)
    return {name: surface(mesh) for name, mesh in scene.geometry.items()}


def surface(mesh: Any) -> Surface:
    # Trimesh counts from the bottom.
    places = np.stack([mesh.visual.uv[:, 0], 1 - mesh.visual.uv[:, 1]], axis=1)
    picture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    return Surface(
        positions=np.asarray(mesh.vertices),
        places=places,
        triangles=np.asarray(mesh.faces),
        picture=picture,
    )


def mesh_of(picture: NDArray[np.uint8], **mesh: Any) -> dict[str, Surface]:
    return surfaces(render_picture(picture, outputs="mesh", mesh=mesh).data)


def focal_of(size: tuple[int, int], fov: float = 60.0) -> float:
    return float(max(size) / 2 / np.tan(np.radians(fov) / 2))


def decibels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_the_file_has_its_name_and_type():
    file = render_picture(portrait(), outputs="mesh")

    assert (file.output, file.file_name, file.content_type) == ("mesh", "mesh.glb", "model/gltf-binary")


@pytest.mark.parametrize("fov", [40.0, 60.0, 100.0])
def test_each_vertex_is_seen_where_its_texture_has_it(fov: float):
    for each in mesh_of(portrait(), fov=fov).values():
        x, y, z = each.positions.T
        focal = focal_of((150, 200), fov)
        u, v = 0.5 + focal * x / -z / 200, 0.5 - focal * y / -z / 150

        assert np.abs(u - each.places[:, 0]).max() <= 1e-4
        assert np.abs(v - each.places[:, 1]).max() <= 1e-4


def test_from_the_cameras_place_the_mesh_looks_like_the_photo():
    photo = portrait()
    front = mesh_of(photo, vertices=4_000)["photo"]
    drawn, away = draw(
        front.positions, front.places, front.triangles, front.picture, focal_of((150, 200)), (150, 200)
    )

    assert away.min() >= 1
    assert decibels(drawn, photo) >= 30


def test_the_second_sheet_is_hidden_from_the_camera_and_shows_beside_it():
    size = 300, 400
    both, focal = mesh_of(portrait(*size), vertices=4_000), focal_of(size)

    def look(each: Surface, aside: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        moved = each.positions - [aside, 0, 0]
        return draw(moved, each.places, each.triangles, each.picture, focal, size)

    _, front = look(both["photo"], 0)
    _, back = look(both["backfill"], 0)
    assert (back[back > 0] > front[back > 0]).all()
    _, front = look(both["photo"], 0.06)
    colours, back = look(both["backfill"], 0.06)
    around = slice(80, 220), slice(60, 260)
    gap = (front == 0)[around]
    assert gap.sum() > 400
    assert (back[around][gap] > 0).mean() > 0.95
    # It has the colours of what is far, which is dark.
    assert np.percentile(colours[around][gap], 98) < 90


@pytest.mark.parametrize("picture", [portrait(), texture(150, 200)])
def test_no_triangle_of_the_photo_leads_across_a_step(picture: NDArray[np.uint8]):
    front = mesh_of(picture)["photo"]

    assert np.ptp(front.nearness) > 0.9
    assert np.ptp(front.nearness[front.triangles], axis=1).max() <= STEP + 1e-5


@pytest.mark.parametrize("vertices", [1_000, 5_000])
@pytest.mark.parametrize("backfill", [True, False])
def test_the_number_of_vertices_has_its_bound(vertices: int, backfill: bool):
    meshes = mesh_of(texture(150, 200), vertices=vertices, backfill=backfill)

    assert set(meshes) == ({"photo", "backfill"} if backfill else {"photo"})
    assert vertices / 4 < sum(len(each.positions) for each in meshes.values()) <= vertices


def test_triangles_face_the_camera():
    for each in mesh_of(portrait()).values():
        a, b, c = (each.positions[each.triangles[:, corner]] for corner in range(3))
        facing = -(np.cross(b - a, c - a) * a).sum(axis=1)

        assert facing.min() > 0
        assert areas(each.places.astype(np.float32), each.triangles.astype(np.int32)).min() > 0


@pytest.mark.parametrize("ratio", [2.0, 6.0, 50.0])
def test_distances_run_from_1_to_the_ratio(ratio: float):
    front = mesh_of(portrait(), depth_ratio=ratio)["photo"]

    # The fine pattern counts as no depth, so nothing may be quite as near as its brightest pixel.
    assert -front.positions[:, 2].max() == pytest.approx(1, abs=0.1)
    assert -front.positions[:, 2].min() == pytest.approx(ratio, rel=0.05)


def test_near_is_where_the_photo_shows_it():
    front = mesh_of(portrait())["photo"]
    x, y, _ = front.positions.T
    near = front.nearness > 0.5

    # The disc is left of the middle, and as high as it.
    assert x[near].mean() < -0.05
    assert abs(y[near].mean()) < 0.02
    assert np.abs(front.places[near].mean(axis=0) - (0.4, 0.5)).max() < 0.02


def test_a_constant_photo_is_a_flat_sheet():
    meshes = mesh_of(np.full((96, 128, 3), 90, np.uint8))

    assert set(meshes) == {"photo"}
    assert np.ptp(meshes["photo"].positions[:, 2]) == 0


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_photo_is_upright(orientation: int):
    upright = portrait()
    front = surfaces(render(save_turned(upright, "PNG", orientation), outputs="mesh").data)["photo"]

    assert front.picture.shape == upright.shape
    assert decibels(front.picture, upright) > 30
    assert np.ptp(front.positions[:, 0] / -front.positions[:, 2]) == pytest.approx(200 / focal_of((150, 200)))
    assert np.ptp(front.positions[:, 1] / -front.positions[:, 2]) == pytest.approx(150 / focal_of((150, 200)))


def test_the_camera_of_a_turned_photo_is_that_of_its_exif():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    data = save(lay(portrait(), 6), "JPEG", exif=exif.tobytes())
    glb = render(data, outputs="mesh").data
    front = surfaces(glb)["photo"]
    focal = 26 * np.hypot(150, 200) / np.hypot(24, 36)

    assert np.ptp(front.positions[:, 0] / -front.positions[:, 2]) == pytest.approx(200 / focal, rel=1e-4)
    lens = pygltflib.GLTF2.load_from_bytes(glb).cameras[0].perspective
    assert np.tan(lens.yfov / 2) == pytest.approx(75 / focal)
    assert lens.aspectRatio == pytest.approx(4 / 3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 400), (400, 100), (33, 97)])
def test_any_shape_fills_its_frame(height: int, width: int):
    front = mesh_of(portrait(height, width))["photo"]

    assert front.picture.shape == (height, width, 3)
    assert front.places.min(axis=0) == pytest.approx([0, 0])
    assert front.places.max(axis=0) == pytest.approx([1, 1])
    assert areas(front.places.astype(np.float32), front.triangles.astype(np.int32)).sum() == pytest.approx(1)


def test_a_gray_photo_stays_gray():
    picture = Image.fromarray(portrait()).convert("L")
    front = surfaces(render_picture(picture, outputs="mesh").data)["photo"]

    assert np.abs(front.picture.astype(int) - np.asarray(picture)[..., np.newaxis]).max() < 40
    assert np.ptp(front.picture.astype(int), axis=2).max() <= 1


def test_a_very_large_photo_has_a_texture_that_browsers_take():
    front = mesh_of(np.full((32, 8300, 3), 90, np.uint8))["photo"]

    assert front.picture.shape[1] == 8192


def test_the_file_says_what_its_depth_is():
    gltf = pygltflib.GLTF2.load_from_bytes(render_picture(portrait(), outputs="mesh").data)

    assert gltf.asset.generator == "Fathom"
    assert gltf.scenes[0].extras["depth"].startswith("Relative")
    assert gltf.scenes[0].extras["depth_ratio"] == RATIO
    assert gltf.scenes[0].extras["fov"] == 60


def test_photos_of_a_job_have_one_scale():
    data = save(portrait(), "PNG")
    alone = surfaces(render(data, outputs="mesh").data)["photo"]
    common = Range(low=0.0, high=2200.0)
    in_a_job = surfaces(render(data, common=common, outputs="mesh", normalize="job").data)["photo"]

    assert alone.nearness.max() == pytest.approx(1, abs=0.05)
    assert 0.2 < in_a_job.nearness.max() < 0.6
