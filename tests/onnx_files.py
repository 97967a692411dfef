"""Tiny ONNX models, made with the package onnx: the mean of the colours, and what can be wrong with a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]

#: Any size, one picture at a time.
ANY = (1, 3, "height", "width")


def write_onnx(
    path: Path,
    *,
    shape: Shape = ANY,
    output: Shape | None = None,
    kind: int = TensorProto.FLOAT,
    weights: Sequence[float] = (0.2, 0.3, 0.5),
    then: Sequence[tuple[str, dict[str, Any]]] = (),
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    external: str | None = None,
    more_outputs: Sequence[str] = (),
) -> Path:
    """Write a model that weighs the three colours by a 1x1 convolution, N x 1 x H x W, and does `then` to it.

    Each step of `then` is `OP input ...` and its attributes; an input is a constant or the last result, `_`.
    `external` names the file that gets the weights.
    """
    kernel = np.resize(np.array(weights, np.float32), (1, int(shape[1]), 1, 1))
    initializers = {"kernel": kernel, **(constants or {})}
    nodes, last = [helper.make_node("Conv", ["image", "kernel"], ["step0"])], "step0"
    if kind != TensorProto.FLOAT:
        nodes = [
            helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["cast", "kernel"], ["step0"]),
        ]
    for number, (step, attributes) in enumerate(then, start=1):
        op, *inputs = step.split()
        names = [last if name == "_" else name for name in inputs]
        nodes.append(helper.make_node(op, names, [f"step{number}"], **attributes))
        last = f"step{number}"
    dimensions = [shape[0], 1, *shape[2:]] if output is None else list(output)
    results = [helper.make_tensor_value_info(last, TensorProto.FLOAT, dimensions)]
    results += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in more_outputs]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, list(shape))],
        results,
        [numpy_helper.from_array(values, name) for name, values in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(
        model, str(path), save_as_external_data=external is not None, location=external, size_threshold=0
    )
    return path
