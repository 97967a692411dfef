from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from fathom.cli import main
from worker.model.checkpoint import random_network


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(3):
        depth = cv2.resize(rng.random((4, 4), np.float32), (64, 64))
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.merge([(255 * depth).astype(np.uint8)] * 3))
        cv2.imwrite(str(folder / f"{number}.depth.png"), (65535 * depth).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_file(random_network().state_dict(), path)
    return path


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["model", "train", *map(str, arguments)])


def test_training_writes_weights_that_load_and_a_curve(pairs: Path, weights: Path, tmp_path: Path):
    out = tmp_path / "mine.safetensors"

    ended = train("--pairs", pairs, "--out", out, "--weights", weights, "--epochs", "1", "--json")

    assert ended.exit_code == 0, ended.output
    report = json.loads(ended.stdout)
    assert report["weights"] == str(out)
    assert report["validation_error"] <= report["validation_error_before"]
    assert [json.loads(line)["epoch"] for line in out.with_suffix(".jsonl").read_text().splitlines()] == [
        0,
        1,
    ]
    shown = CliRunner(env={"FATHOM_WEIGHTS": str(out)}).invoke(main, ["model", "info", "--json"])
    assert json.loads(shown.stdout)["weights"] == "mine.safetensors"


def test_a_folder_without_pairs_is_refused_in_one_sentence(weights: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()

    ended = train("--pairs", tmp_path / "empty", "--out", tmp_path / "o.safetensors", "--weights", weights)

    assert ended.exit_code == 1
    assert "no photographs with depth" in ended.stderr


@pytest.mark.parametrize(
    ("out", "weights", "code", "says"),
    [
        ("mine.pt", "random", 2, ".safetensors"),
        ("mine.safetensors", "random", 1, "nothing to start from"),
        ("mine.safetensors", "nowhere.safetensors", 1, "nowhere.safetensors"),
    ],
)
def test_impossible_training_is_refused_before_any_work(
    pairs: Path, tmp_path: Path, out: str, weights: str, code: int, says: str
):
    ended = train("--pairs", pairs, "--out", tmp_path / out, "--weights", weights)

    assert ended.exit_code == code
    assert says in ended.stderr
    assert not (tmp_path / out).exists()
