"""The network on OpenVINO: the default engine on CPUs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from worker.model.engines import EngineInfo, check_batch
from worker.model.openvino_import import import_openvino
from worker.model.weights import Weights

logger = logging.getLogger(__name__)

DEVICE = "CPU"


class OpenVinoEngine:
    """Runs an exported graph on one CPU thread.

    One compiled network serves every shape. A network compiled for each would be bit for bit
    the same and, where shapes alternate, 7 % faster in f32 and 12 % in bf16 (no difference where
    they repeat), but takes 0.3 s and 80 MB for each of the fifteen shapes, in every child.
    """

    def __init__(self, graph: Path, weights: Weights, *, precision: str = "auto") -> None:
        openvino = import_openvino()
        try:
            chosen = choose_precision(precision, weights, cpu_capabilities())
            compiled = openvino.Core().compile_model(graph, DEVICE, _properties(chosen))
            self._request = compiled.create_infer_request()
        except RuntimeError as exc:
            raise ModelError(
                f"OpenVINO cannot load the network {graph}. If it is damaged, delete it and start again."
            ) from exc
        self._info = EngineInfo(
            weights=weights.name, weights_sha256=weights.sha256, engine="openvino", precision=chosen
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return relative inverse depth, h x w, for a prepared photo, 1 x 3 x h x w."""
        check_batch(batch)
        try:
            self._request.infer([batch], share_inputs=True)
        except RuntimeError as exc:
            raise ModelError("OpenVINO failed to run the network.") from exc
        # The tensor belongs to the request, and the next picture overwrites it.
        depth: NDArray[np.float32] = self._request.get_output_tensor().data[0].copy()
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
