"""The network on OpenVINO: the default engine on CPUs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from worker.model.engine import EngineInfo
from worker.model.openvino_branches import USUAL_SIZES, Branches
from worker.model.openvino_dynamic import DynamicNetwork
from worker.model.openvino_import import import_openvino
from worker.model.preprocess import check_batch
from worker.model.weights import Weights

logger = logging.getLogger(__name__)

DEVICE = "CPU"

#: Predictions after which an engine compiles its branches. That takes a second, which they save within 300
#: photos; before the first photo, a new worker would only make its user wait.
BRANCH_AFTER = 64


class OpenVinoEngine:
    """Runs an exported graph on one CPU thread.

    One network serves every shape (`DynamicNetwork`); after a while, another serves the usual shapes faster
    (`Branches`).
    """

    def __init__(self, graph: Path, weights: Weights, *, precision: str = "auto") -> None:
        self._graph = graph
        try:
            chosen = choose_precision(precision, weights, cpu_capabilities())
            self._properties = _properties(chosen)
            self._network: DynamicNetwork | Branches = DynamicNetwork(graph, DEVICE, self._properties)
        except RuntimeError as exc:
            raise ModelError(
                f"OpenVINO cannot load the network {graph}. If it is damaged, delete it and start again."
            ) from exc
        self._predictions = 0
        self._info = EngineInfo.of(weights, engine="openvino", precision=chosen)

    @property
    def info(self) -> EngineInfo:
        return self._info

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return relative inverse depth, h x w, for a prepared photo, 1 x 3 x h x w."""
        check_batch(batch, self._info.network)
        self._predictions += 1
        # The usual sizes are MiDaS_small's; with large networks, choosing kernels takes the lesser part.
        if self._predictions == BRANCH_AFTER and self._info.network.is_default:
            self.branch()
        try:
            return self._network.run(batch)
        except RuntimeError as exc:
            raise ModelError("OpenVINO failed to run the network.") from exc

    def branch(self) -> None:
        """Compile a branch for each of the usual sizes; predictions stay the same.

        Raises ModelError if OpenVINO fails.
        """
        try:
            branches = Branches(self._graph, USUAL_SIZES)
        except RuntimeError:
            # Someone may have cleared the cache; the compiled network does not need it.
            logger.warning("%s cannot be read any more.", self._graph, extra={"action": "branch_network"})
            return
        # Two compiled networks at once would raise the peak of this process's memory.
        del self._network
        try:
            branches.compile(DEVICE, self._properties)
        except RuntimeError as exc:
            raise ModelError("OpenVINO failed to compile the network.") from exc
        self._network = branches


def cpu_capabilities() -> list[str]:
    """Return the precisions that OpenVINO supports on this CPU, such as `FP32` and `BF16`."""
    capabilities: list[str] = import_openvino().Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return capabilities


def choose_precision(asked: str, weights: Weights, capabilities: Collection[str]) -> str:
    """Return `f32` or `bf16` for a CPU with these OpenVINO capabilities.

    bf16 takes half the time but changes the output, so `auto` uses it only with weights it was measured on,
    and only if the CPU has it. If bf16 is requested and the CPU lacks it, use f32: it is slower and more
    exact, so a mixed fleet keeps working. The log and every sidecar say so.
    """
    if asked == "auto":
        return "bf16" if weights.proven_in_bf16 and "BF16" in capabilities else "f32"
    if asked == "f32":
        return "f32"
    if "BF16" in capabilities:
        return "bf16"
    logger.warning(
        "FATHOM_PRECISION is bf16, which this CPU does not have: using f32.",
        extra={"action": "choose_precision"},
    )
    return "f32"


def _properties(precision: str) -> dict[str, Any]:
    return {
        # By default, OpenVINO uses bf16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        # A worker has one child for each core: a second thread, or a pinned one, would only slow the others
        # down.
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
