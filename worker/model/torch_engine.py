"""The network on PyTorch: the reference for the other engine."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from worker.model.checkpoint import load_network
from worker.model.engine import EngineInfo
from worker.model.preprocess import check_batch
from worker.model.weights import Weights


class TorchEngine:
    """Runs the network eagerly on one CPU thread; `bf16` by torch's autocast."""

    def __init__(self, weights: Weights, *, precision: str = "auto") -> None:
        # This holds for the whole process. A worker has one child for each core.
        torch.set_num_threads(1)
        self._network = load_network(weights)
        chosen = "bf16" if precision == "bf16" else "f32"
        self._info = EngineInfo.of(weights, engine="torch", precision=chosen)

    @property
    def info(self) -> EngineInfo:
        return self._info

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return relative inverse depth, h x w, for a prepared photo, 1 x 3 x h x w."""
        check_batch(batch, self._info.network)
        bf16 = self._info.precision == "bf16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            depth: NDArray[np.float32] = self._network(torch.from_numpy(batch))[0].float().numpy()
        return depth
