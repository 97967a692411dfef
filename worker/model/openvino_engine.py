"""The network on OpenVINO: the default engine on CPUs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from worker.model.branches import USUAL_SIZES, branch_by_size
from worker.model.engines import EngineInfo, check_batch
from worker.model.graph import constants_path
from worker.model.mapped import release_mapped
from worker.model.openvino_import import import_openvino
from worker.model.preprocess import MULTIPLE
from worker.model.weights import Weights

logger = logging.getLogger(__name__)

DEVICE = "CPU"

#: The branch for each of the usual sizes of input; the one after them is for all others.
_BRANCHES = {size: number for number, size in enumerate(USUAL_SIZES)}

#: What the branches that do not run are given. Nobody reads it, so that it takes no memory.
_IDLE = [np.zeros((1, 3, *size), np.float32) for size in (*USUAL_SIZES, (MULTIPLE, MULTIPLE))]


class OpenVinoEngine:
    """Runs an exported graph on one CPU thread.

    One compiled network serves every shape, the usual ones faster: see `branches`.
    """

    def __init__(self, graph: Path, weights: Weights, *, precision: str = "auto") -> None:
        openvino = import_openvino()
        try:
            chosen = choose_precision(precision, weights, cpu_capabilities())
            core = openvino.Core()
            network = branch_by_size(core.read_model(graph))
            self._request = core.compile_model(network, DEVICE, _properties(chosen)).create_infer_request()
        except RuntimeError as exc:
            raise ModelError(
                f"OpenVINO cannot load the network {graph}. If it is damaged, delete it and start again."
            ) from exc
        # The weights were laid out anew, in memory; only a shape not met before reads them again.
        release_mapped(constants_path(graph))
        self._info = EngineInfo(
            weights=weights.name, weights_sha256=weights.sha256, engine="openvino", precision=chosen
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return relative inverse depth, h x w, for a prepared photo, 1 x 3 x h x w."""
        check_batch(batch)
        height, width = batch.shape[2:]
        branch = _BRANCHES.get((height, width), len(USUAL_SIZES))
        inputs: list[NDArray[Any]] = [np.array(branch, np.int32), *_IDLE]
        inputs[1 + branch] = batch
        try:
            self._request.infer(inputs, share_inputs=True)
        except RuntimeError as exc:
            raise ModelError("OpenVINO failed to run the network.") from exc
        # The tensor belongs to the request, and the next picture overwrites it.
        depth: NDArray[np.float32] = self._request.get_output_tensor(branch).data[0].copy()
        return depth


def cpu_capabilities() -> list[str]:
    """Return what OpenVINO can compute in on this CPU, such as `FP32` and `BF16`."""
    capabilities: list[str] = import_openvino().Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return capabilities


def choose_precision(asked: str, weights: Weights, capabilities: Collection[str]) -> str:
    """Return `f32` or `bf16` for a CPU with these OpenVINO capabilities.

    bf16 takes half the time but moves the output: `auto` uses it only with weights it was
    measured on, and where the CPU has it. Where bf16 is asked for and the CPU lacks it, f32
    gives the better answer more slowly, so that a mixed fleet keeps working; the log and every
    sidecar say so.
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
        # Left alone, OpenVINO takes bf16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        # A worker has one child for each core; a second thread or a pinned one would only
        # get in the way of its siblings.
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
