"""An engine without a network, for benchmarks of everything around it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from shared.networks import MIDAS_SMALL, Network
from worker.model.engine import SIMULATED, EngineInfo
from worker.model.preprocess import check_batch

#: Hashed in place of weights; raise the number when `predict` changes.
_FORMULA = b"fathom simulated depth, formula 1"


class SimulatedEngine:
    """Returns the mean of the three colours as depth. It loads no network, and the result means nothing."""

    def __init__(self, network: Network = MIDAS_SMALL) -> None:
        """Pretend to be a network: its photos are prepared as usual."""
        self._network = network

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            model=SIMULATED,
            network=self._network,
            weights=SIMULATED,
            weights_sha256=hashlib.sha256(_FORMULA).hexdigest(),
            engine=SIMULATED,
            precision="f32",
        )

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return an h x w map for a prepared photo, 1 x 3 x h x w: the same for the same photo, and new."""
        check_batch(batch)
        depth: NDArray[np.float32] = batch[0].mean(axis=0, dtype=np.float32)
        return depth
