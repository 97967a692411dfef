"""`fathom model add` and what the other commands do with the model then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from fathom.cli import main
from tests.onnx_files import write_onnx

ADD = ("--input", "64", "--multiple", "32", "--licence", "CC0 1.0", "--mean", "0,0,0", "--std", "1,1,1")


def fathom(cache: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner(env={"FATHOM_CACHE_DIR": str(cache), **environ}).invoke(main, list(arguments))


def add(cache: Path, file: Path, name: str, near: str, *more: str) -> dict[str, Any]:
    done = fathom(cache, "model", "add", str(file), "--name", name, "--near", near, *ADD, *more, "--json")
    assert done.exit_code == 0, done.output
    described: dict[str, Any] = json.loads(done.stdout)
    return described


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A picture that is brighter to the right."""
    folder = tmp_path / "album"
    folder.mkdir()
    row = np.linspace(0, 255, 96, dtype=np.uint8)
    cv2.imwrite(str(folder / "a.png"), np.tile(row, (64, 1))[:, :, np.newaxis].repeat(3, 2))
    return folder


def run(cache: Path, album: Path, model: str) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Return the map of a model, and its sidecar."""
    out = album.parent / model.removeprefix("file:")
    options = ("-o", "outputs=npy", "-o", "size=network", "--sidecars", "--jobs", "1")
    done = fathom(cache, "run", str(album), str(out), "--model", model, *options)
    assert done.exit_code == 0, done.output
    return np.load(out / "a.npy"), json.loads((out / "a.depth.json").read_text())


def test_a_run_with_an_added_model_names_it_and_turns_near_around(cache: Path, album: Path, tmp_path: Path):
    file = write_onnx(tmp_path / "model.onnx")
    described = add(cache, file, "bright", "high", "--title", "Bright is near")
    add(cache, file, "dark", "low")

    bright, sidecar = run(cache, album, "file:bright")
    dark, other = run(cache, album, "file:dark")

    assert bright[0, -1] > bright[0, 0]
    assert np.array_equal(dark, -bright)
    assert sidecar["near"] == other["near"] == "high"
    assert sidecar["model"] == "Bright is near"
    assert other["model"] == "file:dark"
    assert sidecar["weights"] == {"name": "file:bright", "sha256": described["sha256"]}
    assert sidecar["licence"] == {"code": "CC0 1.0", "weights": "CC0 1.0", "note": None}
    assert sidecar["preprocessing"] == {
        "rule": "lower_bound",
        "side": 64,
        "multiple": 32,
        "longest": 128,
        "capped": False,
        "interpolation": "cubic",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    assert sidecar["network_sizes"] == [{"width": 96, "height": 64}]
    assert sidecar["warnings"] == []


def test_an_added_model_is_listed_described_and_exported(cache: Path, tmp_path: Path):
    file = write_onnx(tmp_path / "model.onnx", shape=(1, 3, 64, 96))
    fixed = ("--name", "mine", "--near", "high", "--licence", "CC0 1.0")
    assert fathom(cache, "model", "add", str(file), *fixed).output.startswith(
        "Added file:mine, which takes 0."
    )

    last = fathom(cache, "model", "list").stdout.splitlines()[-1]
    info = json.loads(fathom(cache, "model", "info", "file:mine", "--json").stdout)
    copy = tmp_path / "copy.onnx"
    fathom(cache, "model", "export", "file:mine", "--out", str(copy))
    removed = fathom(cache, "model", "remove", "mine")
    gone = fathom(cache, "model", "info", "file:mine")

    assert last.split()[0] == "file:mine"
    assert "CC0 1.0" in last
    assert info["weights"] == "file:mine"
    assert info["input"] == "fixed 64x96"
    assert info["graph_cached"] is True
    assert copy.read_bytes() == file.read_bytes()
    assert removed.stdout == "Removed file:mine.\n"
    assert gone.exit_code == 1
    assert "There is no model 'file:mine' on this machine." in gone.stderr


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--mean", "1,2"), "is not three numbers"),
        (("--std", "1,1,0"), "cannot be normalised with"),
        (("--fixed", "64"), "is not a height and a width"),
        (("--name", "My Model"), "A model cannot have the name 'My Model'"),
        (("--input", "60"), "must be multiples of 32"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(
    cache: Path, tmp_path: Path, option: tuple[str, ...], sentence: str
):
    file = write_onnx(tmp_path / "model.onnx")

    refused = fathom(cache, "model", "add", str(file), "--name", "a", "--near", "low", *ADD, *option)

    assert refused.exit_code in (1, 2)
    assert sentence in refused.stderr
