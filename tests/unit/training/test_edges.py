"""Edges that follow the photo, judged by true depth. tests/unit/worker/pipeline/test_edges.py is the fast sibling."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("embreex", reason="needs the `training` extra")

from fathom.options import Edges, Quality
from training.assets import DEFAULT_ROOT
from training.metrics import ordinal_disagreement, score_render, true_edges
from training.photographs import load_measured
from training.predict import predict_full
from training.render import render_scene
from training.textures import TextureBank
from worker.model.checkpoint import read_network
from worker.model.network import MidasSmall

pytestmark = pytest.mark.slow

Map = NDArray[np.float32]
STARTER = Path(__file__).parents[3] / "worker" / "model" / "starter.safetensors"
#: Scenes that neither the weights nor the numbers of the method were chosen on.
SCENES = range(40, 48)


@pytest.fixture(scope="module")
def network() -> MidasSmall:
    return read_network(STARTER)


def flying(depth: Map, inverse_depth: Map) -> float:
    """The share of pixels within 12 of a true edge that lie well between what is nearest and farthest there."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    near, far = cv2.dilate(depth, disc), cv2.erode(depth, disc)
    beside = cv2.dilate(true_edges(inverse_depth).astype(np.uint8), disc) > 0
    steps = beside & (near - far > 0.05 * (depth.max() - depth.min()))
    share = (depth - far)[steps] / (near - far)[steps]
    return float(((share > 0.2) & (share < 0.8)).mean())


def test_on_new_renders_edges_are_where_they_are_and_depth_is_no_worse(
    network: MidasSmall, bank: TextureBank
) -> None:
    scores: dict[Edges, list[tuple[float, ...]]] = {edges: [] for edges in Edges}
    for scene in SCENES:
        for sample in render_scene(bank, (9100, scene, 0), (768, 1024), 1):
            for edges in Edges:
                depth = predict_full(network, sample.image, edges=edges)
                score = score_render(depth, sample.inverse_depth)
                fly = flying(depth, sample.inverse_depth)
                scores[edges].append((score.edge_f, fly, score.absolute_relative, score.beyond_125))
    snap, smooth = (np.mean(scores[edges], axis=0) for edges in (Edges.SNAP, Edges.SMOOTH))

    assert len(scores[Edges.SNAP]) >= len(SCENES) // 2
    assert snap[0] >= smooth[0] + 0.10
    assert snap[1] <= 0.6 * smooth[1]
    assert snap[2] <= smooth[2]
    assert snap[3] <= smooth[3]


def test_on_new_renders_a_detailed_map_finds_more_edges_and_depth_is_no_worse(
    network: MidasSmall, bank: TextureBank
) -> None:
    scores: dict[Quality, list[tuple[float, ...]]] = {quality: [] for quality in Quality}
    for scene in SCENES:
        for sample in render_scene(bank, (9100, scene, 0), (768, 1024), 1):
            for quality in Quality:
                depth = predict_full(network, sample.image, edges=Edges.SNAP, quality=quality)
                score = score_render(depth, sample.inverse_depth)
                scores[quality].append((score.edge_f, score.absolute_relative, score.beyond_125))
    detailed, standard = (
        np.mean(scores[quality], axis=0) for quality in (Quality.DETAILED, Quality.STANDARD)
    )

    assert detailed[0] >= standard[0] + 0.02
    assert detailed[1] <= standard[1] + 0.005
    assert detailed[2] <= standard[2] + 0.005


@pytest.mark.parametrize(
    ("name", "quality", "most"),
    [
        ("aloe", Quality.STANDARD, 0.085),
        ("motorcycle", Quality.STANDARD, 0.168),
        ("aloe", Quality.DETAILED, 0.075),
        ("motorcycle", Quality.DETAILED, 0.160),
    ],
)
def test_the_order_of_measured_photographs_is_no_worse(
    network: MidasSmall, name: str, quality: Quality, most: float
) -> None:
    found = [item for item in load_measured(DEFAULT_ROOT) if item.name == name]
    if not found:
        pytest.skip(f"{name} is not on this machine: `python -m training.assets` fetches it")
    depth = predict_full(network, found[0].image, edges=Edges.SNAP, quality=quality)

    assert ordinal_disagreement(depth, found[0].disparity) <= most
