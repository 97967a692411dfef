from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.unit.training.conftest import make_sample
from training.encoder import scale_decoder
from training.finetune import Epoch, finetune
from training.pairs import BadPairs
from training.predict import load_weights
from training.train import save_weights
from worker.model.checkpoint import random_state
from worker.model.network import MidasSmall


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs whose depth is in their brightness, as 16-bit PNG."""
    folder = tmp_path_factory.mktemp("pairs")
    for seed in range(6):
        sample = make_sample(64, 64, seed)
        cv2.imwrite(str(folder / f"{seed}.jpg"), sample.image)
        cv2.imwrite(str(folder / f"{seed}.depth.png"), (sample.inverse_depth * 65535).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = MidasSmall().eval()
    network.load_state_dict(random_state(network.state_dict()))
    scale_decoder(network, torch.randn(1, 3, 64, 64))
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_weights(network, path, {})
    return path


@pytest.mark.parametrize(("method", "epochs", "rate"), [("full", 14, 1e-3), ("lora", 16, 5e-3)])
def test_fine_tuning_halves_the_error_on_held_out_pairs(
    pairs: Path, untrained: Path, tmp_path: Path, method, epochs: int, rate: float
) -> None:
    seen: list[Epoch] = []
    out = finetune(
        pairs, untrained, tmp_path / "tuned.safetensors", method=method, epochs=epochs, rate=rate, long_side=64,
        report=seen.append,
    )  # fmt: skip
    errors = [epoch.validation_error for epoch in seen]
    print(errors)
    assert min(errors) < errors[0] / 2
    assert load_weights(out)
    curve = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in curve] == list(range(epochs + 1))
    assert [entry["validation_error"] for entry in curve] == errors


def test_the_file_holds_the_best_epoch_not_the_last(pairs: Path, untrained: Path, tmp_path: Path) -> None:
    # A rate this high ruins the network at once, so the weights before the first epoch stay the best.
    out = finetune(pairs, untrained, tmp_path / "t.safetensors", epochs=1, rate=50.0, long_side=64)
    kept, original = load_weights(out).state_dict(), load_weights(untrained).state_dict()

    assert all(torch.equal(kept[name], original[name]) for name in kept)


def test_a_folder_without_pairs_is_refused(untrained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPairs):
        finetune(tmp_path, untrained, tmp_path / "t.safetensors")
