from __future__ import annotations

import numpy as np
import pytest

from training import meshes
from training.meshes import Mesh


def area(mesh: Mesh) -> float:
    edges = np.cross(mesh.positions[:, 1] - mesh.positions[:, 0], mesh.positions[:, 2] - mesh.positions[:, 0])
    return float(np.linalg.norm(edges, axis=1).sum() / 2)


SOLIDS = [meshes.box, meshes.sphere, meshes.cylinder, meshes.cone, meshes.capsule]


@pytest.mark.parametrize("make", SOLIDS)
def test_solids_are_of_unit_size_and_stand_on_the_ground(make) -> None:
    corners = make().positions.reshape(-1, 3)

    assert corners.min(0) == pytest.approx([-0.5, -0.5, 0.0], abs=0.02)
    assert corners.max(0) == pytest.approx([0.5, 0.5, 1.0], abs=0.02)


@pytest.mark.parametrize("make", SOLIDS)
def test_normals_have_unit_length(make) -> None:
    lengths = np.linalg.norm(make().normals, axis=-1)

    assert lengths == pytest.approx(np.ones_like(lengths), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "expected"), [(meshes.box, 6.0), (meshes.sphere, np.pi), (meshes.quad, 1.0)]
)
def test_surfaces_have_the_area_of_the_solid(make, expected: float) -> None:
    assert area(make()) == pytest.approx(expected, rel=0.03)


def test_a_ball_has_normals_along_its_radius() -> None:
    ball = meshes.sphere()
    radial = ball.positions - np.array([0, 0, 0.5], np.float32)
    radial /= np.linalg.norm(radial, axis=-1, keepdims=True)
    upright = np.abs(radial[..., 2]) < 0.95

    assert np.abs((ball.normals * radial).sum(-1))[upright].min() > 0.99


def test_stretching_turns_normals_by_the_inverse_transpose() -> None:
    sheet = meshes.grid([[(0, 0, 0), (1, 0, 1)], [(0, 1, 0), (1, 1, 1)]])
    stretched = sheet.transform(np.diag([2.0, 1.0, 1.0]))

    assert np.abs(stretched.normals[0, 0]) == pytest.approx([1 / 5**0.5, 0, 2 / 5**0.5], abs=1e-5)


def test_a_limb_reaches_from_one_point_to_the_other() -> None:
    corners = meshes.limb((0, 0, 0), (3, 0, 4), 0.1, meshes.cylinder()).positions.reshape(-1, 3)
    along = corners @ np.array([0.6, 0, 0.8])

    assert along.min() == pytest.approx(0, abs=1e-4)
    assert along.max() == pytest.approx(5, abs=1e-4)


def test_a_rotation_looks_up_with_positive_pitch_and_left_with_positive_yaw() -> None:
    forward = np.array([0, 1, 0])

    assert meshes.rotation(0, np.pi / 2) @ forward == pytest.approx([0, 0, 1], abs=1e-6)
    assert meshes.rotation(np.pi / 2) @ forward == pytest.approx([-1, 0, 0], abs=1e-6)


def test_a_relief_bulges_towards_the_viewer_inside_its_shape_only() -> None:
    alpha = np.zeros((9, 9), np.float32)
    alpha[3:6, 3:6] = 1
    depth = meshes.relief(alpha, thickness=0.3).positions[..., 1]

    assert depth.min() == pytest.approx(-0.3)
    assert depth.max() == 0
