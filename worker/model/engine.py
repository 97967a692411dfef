"""The protocol of an inference engine, and the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from shared.networks import MIDAS_SMALL, Network

if TYPE_CHECKING:
    # A process that only hands out photos knows engines by name, and never loads an array.
    import numpy as np
    from numpy.typing import NDArray

    from worker.model.weights import Weights

#: The name of the model, weights and engine that only simulate depth.
SIMULATED = "simulated"


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What makes a prediction; part of every sidecar."""

    #: The network's title, or `simulated`.
    model: str = MIDAS_SMALL.title
    #: What the engine runs, or pretends to.
    network: Network = MIDAS_SMALL
    #: `official`, `starter`, `random`, `simulated`, or the name of the file.
    weights: str
    weights_sha256: str
    #: `openvino`, `torch` or `simulated`.
    engine: str
    #: The precision of the arithmetic, `f32` or `bf16`; never `auto`.
    precision: str

    @classmethod
    def of(cls, weights: Weights, *, engine: str, precision: str) -> Self:
        """Return the facts about an engine that runs these weights."""
        return cls(
            model=weights.network.title,
            network=weights.network,
            weights=weights.name,
            weights_sha256=weights.sha256,
            engine=engine,
            precision=precision,
        )


class InferenceEngine(Protocol):
    """Runs the network on one picture at a time. Threads must not share it."""

    @property
    def info(self) -> EngineInfo: ...

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return relative inverse depth, h x w, for a prepared photo, 1 x 3 x h x w.

        The array is the caller's own. Raises ModelError if the network cannot be run.
        """
