from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.unit.training.conftest import make_sample
from training.finetune import Epoch, Method, finetune
from training.pairs import BadPairs
from worker.model.checkpoint import read_network


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs with their depth, which equals their brightness, as 16-bit PNG."""
    folder = tmp_path_factory.mktemp("pairs")
    for seed in range(6):
        sample = make_sample(64, 64, seed)
        cv2.imwrite(str(folder / f"{seed}.jpg"), sample.image)
        cv2.imwrite(str(folder / f"{seed}.depth.png"), (sample.inverse_depth * 65535).astype(np.uint16))
    return folder


AT_LENGTH = [pytest.param("full", 14, 1e-3, 0.5, marks=pytest.mark.slow), pytest.param("lora", 16, 5e-3, 0.5, marks=pytest.mark.slow)]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "epochs", "rate", "share"), [("full", 2, 1e-3, 0.95), ("lora", 2, 5e-3, 0.95), *AT_LENGTH]
)
def test_fine_tuning_lowers_the_error_on_held_out_pairs(
    pairs: Path, untrained: Path, tmp_path: Path, method: Method, epochs: int, rate: float, share: float
) -> None:
    seen: list[Epoch] = []
    out = finetune(
        pairs, untrained, tmp_path / "tuned.safetensors", method=method, epochs=epochs, rate=rate, long_side=64,
        report=seen.append,
    )  # fmt: skip
    errors = [epoch.validation_error for epoch in seen]

    assert min(errors) < share * errors[0], errors
    assert read_network(out)
    curve = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in curve] == list(range(epochs + 1))
    assert [entry["validation_error"] for entry in curve] == errors


def test_the_file_holds_the_best_epoch_not_the_last(pairs: Path, untrained: Path, tmp_path: Path) -> None:
    # A rate this high ruins the network at once, so the weights before the first epoch stay the best.
    out = finetune(pairs, untrained, tmp_path / "t.safetensors", epochs=1, rate=50.0, long_side=64)
    kept, original = read_network(out).state_dict(), read_network(untrained).state_dict()

    assert all(torch.equal(kept[name], original[name]) for name in kept)


def test_a_folder_without_pairs_is_refused(untrained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPairs):
        finetune(tmp_path, untrained, tmp_path / "t.safetensors")
