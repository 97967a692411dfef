from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from training import bundle as module
from training.bundle import bundle
from training.train import save_weights
from worker.model.checkpoint import UNUSED_PREFIX, read_network


@pytest.fixture(scope="module")
def small(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of weights as training leaves them."""
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    assert bundle(untrained, path, {"steps": "7"}) == path.stat().st_size
    return path


def test_a_bundle_is_half_the_size_and_predicts_the_same(untrained: Path, small: Path) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact, packed = (read_network(path).forward_raw(x) for path in (untrained, small))

    assert small.stat().st_size < min(module.SIZE_LIMIT, 0.5 * untrained.stat().st_size)
    assert float((exact - packed).abs().max()) < 0.01 * float(exact.max() - exact.min())


def test_a_bundle_says_what_it_is_and_leaves_the_unused_unit_out(small: Path) -> None:
    with safe_open(small, "pt") as file:
        about, names = file.metadata(), list(file.keys())

    assert about["name"] == "Fathom starter weights"
    assert about["steps"] == "7"
    assert not [name for name in names if name.startswith(UNUSED_PREFIX)]


def test_a_bundle_can_be_read_by_everyone(small: Path) -> None:
    assert small.stat().st_mode & 0o777 == 0o644


def test_values_that_half_precision_cannot_hold_are_refused(untrained: Path, tmp_path: Path) -> None:
    network = read_network(untrained)
    with torch.no_grad():
        network.scratch.layer1_rn.weight[0, 0, 0, 0] = 1e6
    save_weights(network, tmp_path / "full.safetensors", {})

    with pytest.raises(ValueError, match="layer1_rn"):
        bundle(tmp_path / "full.safetensors", tmp_path / "small.safetensors")
