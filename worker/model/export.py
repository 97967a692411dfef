"""Export a network as a graph: `python -m worker.model.export MODEL WEIGHTS SHA256 OUT`.

`worker.model.graph` runs this in a process of its own. MODEL is a name in the catalogue, WEIGHTS is `random`
or the path of a file, and SHA256 the hash that the file must have. OUT ends in `.onnx` for the network as it
was published, or in `.xml` for the one that the workers run, in OpenVINO's format. Fathom's own errors are
printed as JSON.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from shared.errors import FathomError, WeightsInvalid
from shared.networks import MIDAS_SMALL, Network, find_network
from worker.model.checkpoint import load_network
from worker.model.graph import print_refusal
from worker.model.network import MidasSmall
from worker.model.networks.dpt import Dpt
from worker.model.openvino_import import import_openvino
from worker.model.weights import resolve_weights
from worker.model.winograd import apply_winograd

#: The newest version that the exporter and recent versions of OpenVINO and ONNX Runtime all know.
OPSET = 17

INPUT = "image"
OUTPUT = "depth"


def export_onnx(module: nn.Module, out: Path, network: Network = MIDAS_SMALL) -> None:
    """Write a network as one ONNX file; every dimension but the three channels is dynamic.

    A network of a fixed size has only the batch dynamic.
    """
    if isinstance(module, Dpt):
        module.freeze()
    multiple = network.preprocessing.multiple
    axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    if network.fixed_size is None:
        axes = {
            INPUT: {0: "batch", 2: "height", 3: "width"},
            OUTPUT: {0: "batch", 1: "height", 2: "width"},
        }
    # Otherwise, any shape will do: padding is constant, and what depends on the shape is part of the graph.
    height, width = network.fixed_size or (2 * multiple, 3 * multiple)
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, height, width),),
        str(out),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes=axes,
        opset_version=OPSET,
        # The other exporter needs onnxscript too, and takes ten times as long.
        dynamo=False,
    )


def export_openvino(module: nn.Module, out: Path, network: Network = MIDAS_SMALL) -> None:
    """Write a network as OpenVINO's pair of files: `out` and its .bin; MiDaS_small by `apply_winograd`.

    The .bin holds the raw weights, so all children of a machine map the same pages of it. From an ONNX
    file each child would load a copy.
    """
    openvino = import_openvino()
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        onnx = Path(folder) / "network.onnx"
        fast = apply_winograd(module) if isinstance(module, MidasSmall) else module
        export_onnx(fast, onnx, network)
        graph = openvino.Core().read_model(onnx)
        # Fold constants here: a quarter of the nodes is left. Otherwise every child would do it for each of
        # its branches, which takes a second in all.
        offline = importlib.import_module("openvino._offline_transformations")
        offline.apply_moc_transformations(graph, cf=True, smart_reshape=False)
        openvino.save_model(graph, out, compress_to_fp16=False)


def main(model: str, spec: str, sha256: str, out: str) -> int:
    """Export, and return the exit status."""
    try:
        network = find_network(model)
        weights = resolve_weights(spec, Path(), network=network)
        if weights.sha256 != sha256:
            raise WeightsInvalid(f"The file {spec} changed while it was read.")
        export = export_openvino if out.endswith(".xml") else export_onnx
        export(load_network(weights), Path(out), network)
    except FathomError as exc:
        return print_refusal(exc)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
