"""Export the network as an ONNX graph: `python -m worker.model.export WEIGHTS SHA256 OUT`.

This is a process of its own; `worker.model.graph` runs it. WEIGHTS is `random` or the path of
a file, SHA256 what the file must hash to. An error of ours is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from shared.errors import FathomError, WeightsInvalid
from worker.model.checkpoint import load_network
from worker.model.graph import EXPORT_REFUSED
from worker.model.network import MidasSmall
from worker.model.weights import resolve_weights

#: The newest version that the exporter, OpenVINO and ONNX Runtime of the last years all know.
OPSET = 17

INPUT = "image"
OUTPUT = "depth"


def export_onnx(network: MidasSmall, out: Path) -> None:
    """Write `network` as one ONNX file, all but the three channels dynamic."""
    torch.onnx.export(
        network,
        # Any shape does: the network's padding is constant, and nothing else depends on it.
        (torch.zeros(1, 3, 64, 96),),
        str(out),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={
            INPUT: {0: "batch", 2: "height", 3: "width"},
            OUTPUT: {0: "batch", 1: "height", 2: "width"},
        },
        opset_version=OPSET,
        # The other exporter needs onnxscript besides onnx, and takes ten times as long.
        dynamo=False,
    )


def main(spec: str, sha256: str, out: str) -> int:
    """Export, and return the exit status."""
    try:
        weights = resolve_weights(spec, Path())
        if weights.sha256 != sha256:
            raise WeightsInvalid(f"The file {spec} changed while it was read.")
        export_onnx(load_network(weights), Path(out))
    except FathomError as exc:
        print(json.dumps({"code": exc.code, "message": exc.message}))
        return EXPORT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
