from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.encoder import scale_decoder
from training.shards import Sample
from training.textures import TextureBank, build_bank
from training.train import save_weights
from worker.model.checkpoint import random_network


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Give torch one thread, because on a busy machine two would wait for each other at every layer."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> TextureBank:
    """A small bank: two dozen textures, no photographs, and one cut-out disc."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "assets/usr/share/tuxpaint/stamps/food/fruit"
    folder.mkdir(parents=True)
    disc = np.zeros((120, 100, 4), np.uint8)
    cv2.circle(disc, (50, 60), 45, (20, 80, 200, 255), -1)
    cv2.imwrite(str(folder / "disc.png"), disc)
    return build_bank(Path(root), 7, variety=0.04)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that learned nothing, whose depth is of about unit size."""
    torch.manual_seed(3)
    network = random_network()
    scale_decoder(network, torch.randn(1, 3, 64, 64))
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_weights(network, path, {})
    return path


def make_sample(height: int = 96, width: int = 128, seed: int = 0) -> Sample:
    """Return a picture of bright discs on a dark background, in which brighter is nearer."""
    rng = np.random.default_rng(seed)
    inverse = np.full((height, width), 0.1, np.float32)
    for near in np.sort(rng.uniform(0.3, 1.0, 4)):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(inverse, centre, int(rng.integers(12, 30)), float(near), -1)
    image = (np.repeat(inverse[..., None], 3, 2) * 230).astype(np.uint8)
    return Sample(image=image, inverse_depth=inverse)
