"""The pipeline with the real network on random weights: shapes and invariants, not depth."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fathom.options import Options
from shared.settings import Settings
from tests.unit.worker.pipeline.pictures import save, save_turned, texture
from worker.local.run_folder import run_folder
from worker.model.engine import InferenceEngine
from worker.model.engines import load_engine
from worker.pipeline.pipeline import Pipeline


@pytest.fixture(scope="module")
def settings(cache_dir: Path) -> Settings:
    return Settings.from_environ(
        {"FATHOM_WEIGHTS": "random", "FATHOM_CACHE_DIR": str(cache_dir), "FATHOM_PRECISION": "f32"}
    )


@pytest.fixture(scope="module")
def engine(settings: Settings) -> InferenceEngine:
    return load_engine(settings)


@pytest.mark.parametrize("size", [(600, 800), (800, 600), (500, 500), (20, 700), (700, 20)])
def test_every_shape_goes_through_the_network_and_back(
    engine: InferenceEngine, settings: Settings, size: tuple[int, int]
) -> None:
    files = Pipeline.from_settings(engine, settings).render(
        save(texture(*size), "JPEG"), Options.parse({"outputs": ["heatmap", "npy"]})
    )
    depth = np.load(io.BytesIO(files[1].data))

    assert np.asarray(Image.open(io.BytesIO(files[0].data))).shape == depth.shape == size
    assert np.isfinite(depth).all()
    assert depth.std() > 0


def test_a_rotated_photo_has_the_depth_of_the_upright_photo(
    engine: InferenceEngine, settings: Settings
) -> None:
    pipeline, options = Pipeline.from_settings(engine, settings), Options.parse({"outputs": "npy"})
    upright = pipeline.render(save(texture(480, 640), "PNG"), options)[0].data
    turned = pipeline.render(save_turned(texture(480, 640), "PNG", 6), options)[0].data

    assert upright == turned


def test_a_folder_runs_with_the_settings_own_network(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(save(texture(300, 400), "JPEG"))
    summary = run_folder(tmp_path / "in", tmp_path / "out", Options(), settings, jobs=1)
    facts = json.loads((tmp_path / "out" / "a.depth.json").read_bytes())

    assert (summary.succeeded, summary.failures, summary.weights) == (1, (), "random")
    assert facts["warnings"] == ["The network ran on random weights: this is not a depth map."]
