"""All rows of the comparison, in the order of the table."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from bench.peers.fathom_rows import FathomRun, FathomSystem
from bench.peers.folder_program import FolderProgram
from bench.peers.litserve_row import LitServe
from bench.peers.peer import Depth, Peer

ROWS: Sequence[Peer] = (
    FolderProgram(
        name="script",
        title="the script: PyTorch eager, full decoding",
        module="bench.peers.script",
        packages=("torch", "timm"),
        depth=Depth.EXACT,
    ),
    FolderProgram(
        name="expert",
        title="an expert's script: ONNX Runtime, a process a core",
        module="bench.peers.expert",
        packages=("onnxruntime",),
    ),
    FolderProgram(
        name="openvino-f32",
        title="OpenVINO AsyncInferQueue, f32",
        module="bench.peers.openvino_queue",
    ),
    FolderProgram(
        name="openvino-bf16",
        title="OpenVINO AsyncInferQueue, bf16",
        module="bench.peers.openvino_queue",
        precision="bf16",
        rival="fathom-bf16",
    ),
    FolderProgram(
        name="transformers",
        title="transformers pipeline, Depth Anything Small",
        module="bench.peers.transformers_pipeline",
        packages=("torch", "torchvision", "transformers"),
        depth=Depth.OTHER,
    ),
    FathomRun(name="fathom-f32", title="fathom run, f32", precision="f32"),
    FathomRun(name="fathom-bf16", title="fathom run, bf16", precision="bf16"),
    LitServe(),
    FathomSystem(name="system-f32", title="fathom up and submit, f32", precision="f32"),
    FathomSystem(name="system-bf16", title="fathom up and submit, bf16", precision="bf16"),
)


def missing_packages(names: Sequence[str]) -> list[str]:
    """Return those of these packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]
