"""The second view of a stereo pair, judged by the true one: scenes rendered from two places."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("embreex", reason="needs the `training` extra")

from skimage.metrics import structural_similarity

from tests.unit.worker.pipeline.pictures import draw_whole
from training.layouts import draw_layout
from training.light import View as SceneView
from training.light import aim_camera, draw_lighting, render_view
from training.render import is_worth_keeping
from training.scene import SceneBuilder, draw_materials
from training.shards import Sample
from training.textures import TextureBank
from training.tracer import RayTracer
from worker.pipeline.scene.stereo.view import View
from worker.pipeline.scene.stereo.warp import Eye, Viewpoint, find_shifts

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

#: How much farther the nearest point moves than infinity, as a share of the width.
TRAVEL = 0.025


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """A scene from two places beside each other, and the inverse depth of the first."""

    left: Pixels
    right: Pixels
    inverse_depth: Floats


def photograph(view: SceneView, seed: int) -> tuple[Pixels, Floats]:
    """Return a view without noise, as RGB, and its inverse depth."""
    light, inverse_depth = render_view(replace(view, rng=np.random.default_rng(seed)))
    soft = cv2.GaussianBlur(np.clip(light, 0, 1) ** (1 / 2.2), (0, 0), 0.5)
    return np.rint(255 * soft).astype(np.uint8), inverse_depth


def render_two(bank: TextureBank, seed: int, height: int, width: int) -> TwoViews | None:
    """Render a scene from two places; None for one that shows too little."""
    rng = np.random.default_rng([9200, seed])
    scene = SceneBuilder(bank=bank)
    view_range = draw_layout(rng)(scene, rng)
    view = SceneView(
        rng=rng,
        tracer=RayTracer(*scene.build(), bank),
        camera=aim_camera(rng, view_range, height, width),
        lighting=draw_lighting(rng, view_range, bank),
        materials=draw_materials(rng, scene),
    )
    left, inverse_depth = photograph(view, seed)
    if not is_worth_keeping(Sample(image=left, inverse_depth=inverse_depth)):
        return None
    baseline = TRAVEL * width / (view.camera.focal * float(inverse_depth.max()))
    eye = view.camera.eye + baseline * view.camera.rotation[:, 0]
    right, _ = photograph(replace(view, camera=replace(view.camera, eye=eye.astype(np.float32))), seed)
    return TwoViews(left=left, right=right, inverse_depth=inverse_depth)


def similarity(views: TwoViews, picture: Pixels) -> float:
    """Return the structural similarity of a picture to the true right view, without the columns at the borders."""
    border = round(TRAVEL * picture.shape[1]) + 4
    inner = slice(border, -border)
    return float(structural_similarity(picture[:, inner], views.right[:, inner], channel_axis=2))


def synthesize(views: TwoViews, shrink: int = 1) -> Pixels:
    """Return the right view, made of the left one and the true depth; points at infinity stay where they are.

    The map may be so many times smaller than the view.
    """
    height, width = views.inverse_depth.shape
    size = width // shrink, height // shrink
    nearness = cv2.resize(views.inverse_depth / views.inverse_depth.max(), size, interpolation=cv2.INTER_AREA)
    viewpoint = Viewpoint(eye=Eye.RIGHT, travel=TRAVEL, convergence=0.0, margin=0.0)
    return draw_whole(View(views.left, find_shifts(nearness, viewpoint), viewpoint))


def check(views: TwoViews) -> None:
    """Check that the view made from true depth is like the true one, and that this says something."""
    moved, unmoved = similarity(views, synthesize(views)), similarity(views, views.left)

    assert moved >= 0.95
    assert moved >= unmoved + 0.5 * (1 - unmoved)


def test_the_view_from_true_depth_is_like_the_true_view(bank: TextureBank) -> None:
    views = render_two(bank, seed=3, height=240, width=320)

    assert views is not None
    check(views)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 18))
def test_the_view_of_any_scene_from_true_depth_is_like_the_true_view(bank: TextureBank, seed: int) -> None:
    views = render_two(bank, seed, height=768, width=1024)

    if views is None:
        pytest.skip("This scene shows too little.")
    check(views)


@pytest.mark.slow
@pytest.mark.parametrize("fold", [2, 4])
def test_a_smaller_map_is_hardly_worse(bank: TextureBank, fold: int) -> None:
    views = render_two(bank, seed=3, height=768, width=1024)

    assert views is not None
    whole, small = (similarity(views, synthesize(views, shrink=times)) for times in (1, fold))
    assert small >= whole - 0.015
