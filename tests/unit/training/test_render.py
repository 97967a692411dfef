from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex", reason="needs the `training` extra")

from training.layouts import LAYOUTS
from training.light import View, aim_camera, draw_lighting, render_view
from training.render import is_worth_keeping, render_scene
from training.scene import SceneBuilder, draw_materials
from training.shards import Sample
from training.textures import TextureBank
from training.tracer import RayTracer


@pytest.mark.parametrize("layout", [layout for layout, _ in LAYOUTS], ids=lambda layout: layout.__name__)
def test_every_layout_gives_finite_light_and_depth(bank: TextureBank, layout) -> None:
    rng = np.random.default_rng(5)
    scene = SceneBuilder(bank=bank)
    view_range = layout(scene, rng)
    view = View(
        rng=rng,
        tracer=RayTracer(*scene.build(), bank),
        camera=aim_camera(rng, view_range, 48, 64),
        lighting=draw_lighting(rng, view_range, bank),
        materials=draw_materials(rng, scene),
    )
    light, inverse = render_view(view)

    assert np.isfinite(light).all()
    assert light.min() >= 0
    assert np.isfinite(inverse).all()
    assert inverse.min() >= 0
    assert inverse.max() > 0


def test_the_same_seed_gives_the_same_pixels_and_another_seed_gives_others(bank: TextureBank) -> None:
    first, again = (render_scene(bank, (3, 1, 4), (48, 64), 2) for _ in range(2))
    other = render_scene(bank, (3, 1, 5), (48, 64), 2)

    assert len(first) == len(again) > 0
    for a, b in zip(first, again, strict=True):
        assert (a.image == b.image).all()
        assert (a.inverse_depth == b.inverse_depth).all()
    assert not other or not (first[0].image == other[0].image).all()


def test_views_of_one_scene_differ(bank: TextureBank) -> None:
    views = render_scene(bank, (3, 1, 4), (48, 64), 3)

    assert len(views) >= 2
    assert not (views[0].inverse_depth == views[1].inverse_depth).all()


@pytest.mark.parametrize(
    "inverse",
    [np.zeros((8, 8)), np.full((8, 8), 0.5), np.linspace(10, 60, 64).reshape(8, 8)],
    ids=["sky alone", "one flat wall", "the lens inside an object"],
)
def test_views_with_nothing_to_learn_are_not_kept(inverse: np.ndarray) -> None:
    sample = Sample(image=np.zeros((8, 8, 3), np.uint8), inverse_depth=inverse.astype(np.float32))

    assert not is_worth_keeping(sample)


def test_without_photographs_a_bank_has_procedural_textures_of_every_kind(tmp_path: Path) -> None:
    from training.textures import build_bank

    bank = build_bank(tmp_path, 1, variety=0.01)

    assert bank.stamps == ()
    assert {len(numbers) for numbers in bank.kinds.values()} == {2}
    assert bank.means.min() >= 0
    assert bank.means.max() <= 1
