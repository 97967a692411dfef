from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.conftest import make_sample
from training.evaluate import load_predictor, main, score_labels, score_renders
from training.photographs import LabelledPhoto
from training.shards import ShardFolder, write_shard


def test_a_perfect_predictor_has_no_error_on_renders(tmp_path: Path) -> None:
    # The samples show their own depth as brightness.
    write_shard(tmp_path / "a.safetensors", [make_sample(192, 256)], {})
    scores = score_renders(lambda image: image.mean(2).astype(np.float32), ShardFolder(tmp_path))

    assert scores["beyond_125"] < 0.02
    assert scores["edge_f"] > 0.95


def test_without_renders_the_scores_are_unknown(tmp_path: Path) -> None:
    scores = score_renders(lambda image: image.mean(2).astype(np.float32), ShardFolder(tmp_path))

    assert all(math.isnan(score) for score in scores.values())


@pytest.mark.parametrize(("baseline", "error"), [("lower", 1.0), ("centre", 0.0)])
def test_labels_are_scored_at_the_size_of_the_photograph(tmp_path: Path, baseline: str, error: float) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 60, 3), np.uint8))
    pair = ((0.5, 0.5), (0.5, 0.95))
    item = LabelledPhoto(name="a", path=tmp_path / "a.png", split="test", pairs=[pair])

    assert score_labels(load_predictor(baseline), item) == error


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "validation").mkdir()
    code = main(["--weights", "lower", "--root", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out)

    assert code == 0
    assert set(report) >= {"absolute_relative", "beyond_125", "edge_f", "ordinal_error", "measured_error"}
