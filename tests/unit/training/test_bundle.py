from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from training import bundle as module
from training.bundle import bundle
from training.encoder import scale_decoder
from training.predict import load_weights
from training.train import save_weights
from worker.model.checkpoint import UNUSED_PREFIX
from worker.model.network import MidasSmall


def make_weights(path: Path) -> MidasSmall:
    torch.manual_seed(0)
    network = MidasSmall().eval()
    scale_decoder(network, torch.randn(1, 3, 64, 64))
    save_weights(network, path, {})
    return network


def test_a_bundle_is_half_the_size_and_predicts_the_same(tmp_path: Path) -> None:
    network = make_weights(tmp_path / "full.safetensors")
    size = bundle(tmp_path / "full.safetensors", tmp_path / "small.safetensors", {"steps": "7"})
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        exact, packed = network.forward_raw(x), load_weights(tmp_path / "small.safetensors").forward_raw(x)

    assert size == (tmp_path / "small.safetensors").stat().st_size < module.SIZE_LIMIT
    assert size < 0.5 * (tmp_path / "full.safetensors").stat().st_size
    assert float((exact - packed).abs().max()) < 0.01 * float(exact.max() - exact.min())


def test_a_bundle_says_what_it_is_and_leaves_the_unused_unit_out(tmp_path: Path) -> None:
    make_weights(tmp_path / "full.safetensors")
    bundle(tmp_path / "full.safetensors", tmp_path / "small.safetensors", {"steps": "7"})
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        about, names = file.metadata(), list(file.keys())

    assert about["name"] == "Fathom starter weights"
    assert about["steps"] == "7"
    assert not [name for name in names if name.startswith(UNUSED_PREFIX)]


def test_a_bundle_can_be_read_by_everyone(tmp_path: Path) -> None:
    make_weights(tmp_path / "full.safetensors")
    bundle(tmp_path / "full.safetensors", tmp_path / "small.safetensors")

    assert (tmp_path / "small.safetensors").stat().st_mode & 0o777 == 0o644


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    network = make_weights(tmp_path / "full.safetensors")
    with torch.no_grad():
        network.scratch.layer1_rn.weight[0, 0, 0, 0] = 1e6
    save_weights(network, tmp_path / "full.safetensors", {})

    with pytest.raises(ValueError, match="layer1_rn"):
        bundle(tmp_path / "full.safetensors", tmp_path / "small.safetensors")
