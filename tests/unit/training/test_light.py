from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training import meshes

pytest.importorskip("embreex", reason="needs the `training` extra")

from training.light import Camera, Lighting, View, draw_lighting, render_view
from training.scene import SceneBuilder, ViewRange, draw_materials
from training.textures import TextureBank
from training.tracer import RayTracer


def make_camera() -> Camera:
    return Camera(
        eye=np.zeros(3, np.float32), rotation=meshes.rotation(0), focal=40.0, height=30, width=40, focus=2.0
    )


def make_lighting(bank: TextureBank) -> Lighting:
    view_range = ViewRange(eye=((0, 0, 0), (0, 0, 0)), target=((0, 1, 0), (0, 1, 0)))
    return replace(draw_lighting(np.random.default_rng(0), view_range, bank), fog=0.0, clouds=0.0)


def render(scene: SceneBuilder, materials: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    view = View(
        rng=rng,
        tracer=RayTracer(*scene.build(), scene.bank),
        camera=make_camera(),
        lighting=make_lighting(scene.bank),
        materials=draw_materials(rng, scene) if materials is None else materials,
    )
    return render_view(view)


def add_wall(scene: SceneBuilder, distance: float, kind: str = "wall", size: float = 20.0) -> None:
    scene.add(meshes.quad(), scene.add_surface(kind), size=size, at=(0, distance, 0))


def test_a_wall_at_right_angles_has_one_depth_along_the_axis(bank: TextureBank) -> None:
    scene = SceneBuilder(bank=bank)
    add_wall(scene, 4.0)
    _, inverse = render(scene)

    assert inverse == pytest.approx(np.full((30, 40), 0.25), abs=1e-5)


def test_a_ray_that_hits_nothing_is_infinitely_far_and_shows_the_sky(bank: TextureBank) -> None:
    scene = SceneBuilder(bank=bank)
    add_wall(scene, 4.0, size=1.0)
    light, inverse = render(scene)

    assert inverse[0, 0] == 0
    assert inverse[15, 20] == pytest.approx(0.25, abs=1e-5)
    assert np.isfinite(light).all()
    assert light[0, 0].max() > 0


def test_a_floor_comes_nearer_towards_the_bottom(bank: TextureBank) -> None:
    scene = SceneBuilder(bank=bank)
    scene.add(meshes.box(), scene.add_surface("ground"), size=(100, 100, 1), at=(0, 0, -2.5))
    _, inverse = render(scene)

    column = inverse[16:, 20]
    assert (np.diff(column) > 0).all()
    # A pixel's row below the horizon, over the focal length, is the slope down to 1.5 m.
    assert column == pytest.approx((np.arange(16, 30) + 0.5 - 15) / 40 / 1.5, rel=1e-3)


def test_rays_pass_through_the_holes_of_a_cut_out(bank: TextureBank) -> None:
    scene = SceneBuilder(bank=bank)
    stamp = bank.stamps[0]
    scene.add(
        meshes.quad(), scene.add_surface("stamp", texture=stamp.texture), size=(2.8, 1, 2.2), at=(0, 3, 0)
    )
    add_wall(scene, 6.0)
    _, inverse = render(scene)

    assert inverse[15, 20] == pytest.approx(1 / 3, abs=1e-4)
    assert inverse[1, 1] == pytest.approx(1 / 6, abs=1e-4)


def test_glass_has_its_own_depth_and_shows_what_is_behind(bank: TextureBank) -> None:
    scene = SceneBuilder(bank=bank)
    add_wall(scene, 3.0, kind="glass")
    add_wall(scene, 6.0, kind="lamp")
    materials = draw_materials(np.random.default_rng(1), scene)
    light, inverse = render(scene, materials)
    materials["clear"] = 0
    opaque, _ = render(scene, materials)

    assert inverse[15, 20] == pytest.approx(1 / 3, abs=1e-5)
    assert light[15, 20].sum() > opaque[15, 20].sum() + 0.2
