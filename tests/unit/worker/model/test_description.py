from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import WeightsUnavailable
from tests.unit.worker.model.conftest import SettingsFactory
from worker.model.description import describe


def test_the_description_names_weights_engine_precision_and_graph(
    settings_factory: SettingsFactory, random_graph: Path
):
    assert describe(settings_factory()) == {
        "model": "MiDaS_small",
        "weights": "random",
        "path": None,
        "sha256": "e3fdf2c77c1e1ecbf76aff0601788db0991b4313d53956070e51519075f8d6b0",
        "engine": "openvino",
        "precision": "f32",
        "parameters": 21_320_545,
        "code_licence": "MIT",
        "official_weights_licence": "MIT",
        "graph": str(random_graph),
        "graph_cached": True,
    }


def test_describing_weights_prepares_nothing(
    settings_factory: SettingsFactory, half_file: Path, tmp_path: Path
):
    before = sorted(tmp_path.iterdir())

    described = describe(settings_factory(weights=str(half_file), cache_dir=tmp_path))

    assert described["path"] == str(half_file)
    assert described["graph_cached"] is False
    assert sorted(tmp_path.iterdir()) == before


def test_the_precision_described_is_the_one_the_engine_would_use(settings_factory: SettingsFactory):
    assert describe(settings_factory(engine="torch", precision="auto"))["precision"] == "f32"
    assert describe(settings_factory(engine="torch", precision="bf16"))["precision"] == "bf16"


def test_without_weights_there_is_no_description(settings_factory: SettingsFactory, tmp_path: Path):
    with pytest.raises(WeightsUnavailable):
        describe(settings_factory(weights="official", cache_dir=tmp_path))
