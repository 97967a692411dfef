from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.networks import NETWORKS
from shared.settings import Settings
from worker.model.graph import graph_path
from worker.model.served import prepare_served, served_networks, settings_for
from worker.model.weights import find_weights, official_path


def settings(cache: Path, **changes: str) -> Settings:
    environ = {f"FATHOM_{name.upper()}": value for name, value in changes.items()}
    return Settings.from_environ({"FATHOM_CACHE_DIR": str(cache), **environ})


def fetch(cache: Path, *names: str) -> None:
    for name in names:
        path = official_path(cache, NETWORKS[name])
        path.parent.mkdir(exist_ok=True)
        path.touch()


def served(cache: Path, **changes: str) -> list[str]:
    return [network.name for network in served_networks(settings(cache, **changes))]


def test_a_worker_serves_the_default_and_what_was_fetched(tmp_path: Path):
    assert served(tmp_path) == ["midas_small"]
    fetch(tmp_path, "dpt_hybrid", "midas_small", "dpt_large")

    assert served(tmp_path) == ["midas_small", "dpt_hybrid", "dpt_large"]
    assert served(tmp_path, model="dpt_large") == ["dpt_large", "midas_small", "dpt_hybrid"]


def test_a_worker_serves_what_its_setting_names_and_nothing_else(tmp_path: Path):
    fetch(tmp_path, "dpt_hybrid")

    assert served(tmp_path, models="dpt_large, dpt_hybrid") == ["dpt_large", "dpt_hybrid"]
    assert served(tmp_path, models="dpt_large midas_small dpt_large") == ["midas_small", "dpt_large"]
    assert served(tmp_path, models="dpt_large", model="dpt_large") == ["dpt_large"]


@pytest.mark.parametrize(
    "changes", [{"weights": "random"}, {"engine": "simulated", "simulate": "network"}], ids=str
)
def test_networks_that_need_no_weights_are_served_by_name_only(tmp_path: Path, changes: dict[str, str]):
    fetch(tmp_path, "dpt_hybrid")

    assert served(tmp_path, **changes) == ["midas_small"]
    assert served(tmp_path, models="dpt_hybrid dpt_large", **changes) == ["dpt_hybrid", "dpt_large"]


def test_an_unknown_name_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="no model 'dpt_giant'"):
        served(tmp_path, models="midas_small dpt_giant")


def test_a_network_that_does_not_fit_is_left_out_or_refused_if_it_was_named(tmp_path: Path):
    fetch(tmp_path, "dpt_large", "dpt_hybrid")

    assert served(tmp_path, child_memory_mb="2048") == ["midas_small", "dpt_hybrid"]
    with pytest.raises(
        SettingsError, match="3700 MB for dpt_large: raise FATHOM_CHILD_MEMORY_MB, which is 2048"
    ):
        served(tmp_path, child_memory_mb="2048", models="dpt_large")
    assert "dpt_large" in served(tmp_path, child_memory_mb="0")


@pytest.mark.parametrize(
    ("weights", "default", "other"),
    [
        ("auto", "auto", "auto"),
        ("starter", "starter", "auto"),
        ("mine.safetensors", "mine.safetensors", "auto"),
        ("random", "random", "random"),
    ],
)
def test_the_setting_of_weights_is_for_the_default_alone(
    tmp_path: Path, weights: str, default: str, other: str
):
    given = settings(tmp_path, weights=weights)
    own, another = (settings_for(given, NETWORKS[name]) for name in ("midas_small", "dpt_hybrid"))

    assert (own.model, own.weights) == ("midas_small", default)
    assert (another.model, another.weights) == ("dpt_hybrid", other)


def test_a_network_that_was_fetched_but_not_prepared_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Its export may take minutes: `fathom model fetch` does that, or a worker that was told to serve it."""
    fetch(tmp_path, "dpt_swin2_tiny")
    given = settings(tmp_path)
    assert served(tmp_path) == ["midas_small", "dpt_swin2_tiny"]
    prepared = graph_path(find_weights(given), tmp_path)
    prepared.parent.mkdir()
    prepared.touch()

    assert [network.name for network in prepare_served(given)] == ["midas_small"]
    assert "Not serving dpt_swin2_tiny: It is not prepared; `fathom model fetch" in caplog.text
