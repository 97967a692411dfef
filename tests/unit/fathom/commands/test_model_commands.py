"""`fathom model` and `fathom run --model`, without any weights but random ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fathom.cli import main
from shared.networks import NETWORKS
from tests.unit.fathom.conftest import LARGE, on, problem
from tests.unit.fathom.job_server import JobServer
from worker.model.graph import graph_path
from worker.model.weights import official_path, resolve_weights


def fathom(cache: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner(env={"FATHOM_CACHE_DIR": str(cache), **environ}).invoke(main, list(arguments))


def test_all_networks_are_listed_with_licence_and_cost(tmp_path: Path):
    printed = fathom(tmp_path, "model", "list")
    listed = json.loads(fathom(tmp_path, "model", "list", "--json").stdout)["models"]

    assert [each["name"] for each in listed] == list(NETWORKS)
    assert not any(each["fetched"] for each in listed)
    assert listed[0]["relative_cost"] == 1.0
    for name, line in zip(NETWORKS, printed.stdout.splitlines(), strict=True):
        assert line.startswith(name)
        assert "MIT" in line or "Apache-2.0" in line


def served(transport: JobServer, *arguments: str) -> Result:
    """List the networks of a server."""
    command = ["model", "list", "--api", "http://fathom.test", *arguments]
    return CliRunner().invoke(main, command, obj=httpx.MockTransport(transport))


def test_the_networks_of_a_server_are_listed_as_it_describes_them():
    small = LARGE | {"name": "midas_small", "title": "MiDaS_small", "tier": "fast", "relative_cost": 1.0}
    small |= {"available": False, "slots": 0, "default": True}
    mine = {"name": "file:mine", "relative_cost": 3.2, "available": True, "slots": 1}
    server = JobServer(models=[small, LARGE, mine])

    printed, as_json = served(server), served(server, "--json")

    assert json.loads(as_json.stdout) == {"models": [small, LARGE, mine]}
    assert [line.split(maxsplit=3) for line in printed.stdout.splitlines()] == [
        ["midas_small", "1.0x", "MIT", "not served       fast      MiDaS_small, the default"],
        ["dpt_large", "101.9x", "MIT", "served by 2      best      DPT-Large"],
        ["file:mine", "3.2x", "unknown", "served by 1      -         file:mine"],
    ]
    assert (printed.exit_code, as_json.exit_code) == (0, 0)


def test_a_server_of_an_earlier_version_cannot_list_its_networks():
    server = JobServer(faults=[on("GET", "/v1/models", lambda _: problem(404, "not_found", "Nothing here."))])
    ended = served(server)

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "fathom: Nothing here." in ended.stderr


def test_a_network_is_described_without_its_weights(tmp_path: Path):
    described = json.loads(fathom(tmp_path, "model", "info", "midas_large", "--json").stdout)

    assert described["weights"] is None
    assert "`fathom model fetch midas_large`" in described["missing"]
    assert "CC-BY-NC 4.0" in described["licence_note"]
    assert described["parameters"] == 105_362_945


def test_a_network_with_weights_is_described_with_them(tmp_path: Path):
    shown = fathom(tmp_path, "model", "info", "dpt_large", "--json", FATHOM_WEIGHTS="random")

    described = json.loads(shown.stdout)
    assert described["weights"] == "random"
    assert described["model"] == "DPT-Large"
    assert described["graph"].startswith(f"{tmp_path}/graphs/dpt-large-")


@pytest.mark.parametrize("command", ["info", "fetch"])
def test_an_unknown_network_is_refused_in_one_sentence(tmp_path: Path, command: str):
    ended = fathom(tmp_path, "model", command, "vits")

    assert ended.exit_code == 1
    assert "There is no model 'vits'. There are midas_small," in ended.stderr


def test_a_run_without_the_weights_says_what_to_fetch(tmp_path: Path):
    album = tmp_path / "in"
    album.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(album / "a.png")

    ended = fathom(tmp_path, "run", str(album), str(tmp_path / "out"), "--model", "dpt_hybrid", "--jobs", "1")

    assert ended.exit_code == 1
    assert "No weights of DPT-Hybrid" in ended.stderr
    assert "`fathom model fetch dpt_hybrid`" in ended.stderr
    assert not list((tmp_path / "out").iterdir())


def test_there_are_no_starter_weights_of_other_networks(tmp_path: Path):
    ended = fathom(tmp_path, "model", "info", "dpt_hybrid", "--json", FATHOM_WEIGHTS="starter")

    assert "There are no starter weights of DPT-Hybrid." in json.loads(ended.stdout)["missing"]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file in the place of DPT SwinV2-Tiny's weights, whose authors published no hash."""
    path = official_path(tmp_path, NETWORKS["dpt_swin2_tiny"])
    path.parent.mkdir()
    path.write_bytes(b"no weights")
    return path


def test_a_fetched_network_is_compiled_in_a_process_of_its_own(tmp_path: Path, damaged: Path):
    weights = resolve_weights("official", tmp_path, network=NETWORKS["dpt_swin2_tiny"])
    graph = graph_path(weights, tmp_path)
    graph.parent.mkdir()
    graph.write_text("no graph")

    ended = fathom(tmp_path, "model", "fetch", "dpt_swin2_tiny", FATHOM_WEIGHTS="random")

    assert ended.stdout == f"The official weights are at {damaged}.\n"
    assert "Preparing DPT SwinV2-Tiny for OpenVINO." in ended.stderr
    assert f"fathom: OpenVINO cannot load the network {graph}." in ended.stderr
    assert ended.exit_code == 1


def test_a_fetched_network_is_not_prepared_if_that_is_not_wanted(tmp_path: Path, damaged: Path):
    ended = fathom(tmp_path, "model", "fetch", "dpt_swin2_tiny", "--no-prepare", "--json")

    fetched = {"name": "dpt_swin2_tiny", "path": str(damaged), "prepared": False}
    assert json.loads(ended.stdout) == {"models": [fetched]}
    assert ended.stderr == ""


def test_without_torch_a_network_is_prepared_elsewhere(
    tmp_path: Path, damaged: Path, monkeypatch: pytest.MonkeyPatch
):
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "torch", None)

    ended = fathom(tmp_path, "model", "fetch", "dpt_swin2_tiny")

    assert ended.exit_code == 0
    assert "DPT SwinV2-Tiny is not prepared here, which would take torch: fetch it where" in ended.stderr


def test_either_some_networks_or_all_are_fetched(tmp_path: Path):
    ended = fathom(tmp_path, "model", "fetch", "dpt_large", "--all")

    assert ended.exit_code == 2
    assert "Name networks, or take --all." in ended.stderr
