"""One OpenVINO network with a branch of its own for each of the shapes that photos mostly have.

A network for any shape plans its memory and looks its kernels up anew whenever the shape
changes; one for a single shape does it once, and fuses more. Networks compiled apart would
each hold all the weights. The branches of one network share them: OpenVINO keeps a weight once
for each way it is laid out, and the branches refer to the same constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from worker.model.openvino_import import import_openvino

#: Height and width of the network's inputs for photos of 4:3, lying and upright, and of 3:2.
USUAL_SIZES = ((192, 256), (256, 192), (160, 256))


def branch_by_size(network: Any, sizes: Sequence[tuple[int, int]] = USUAL_SIZES) -> Any:
    """Return a network with a branch for each of `sizes`, and a last one for any other size.

    Input 0 is the number of the branch to run, int32; input k + 1 and output k are those of
    branch k. Outputs of the other branches are empty.
    """
    openvino, ops = _openvino()
    chosen = ops.parameter([], np.int32)
    branches = [_branch(network, number, size, chosen) for number, size in enumerate((*sizes, (-1, -1)))]
    results = [ops.result(branch.output(0)) for branch, _ in branches]
    return openvino.Model(results, [chosen, *(picture for _, picture in branches)])


def _branch(network: Any, number: int, size: tuple[int, int], chosen: Any) -> tuple[Any, Any]:
    """Return the node that runs `network` at one size if it is `chosen`, and its input."""
    openvino, ops = _openvino()
    body = network.clone()
    body.reshape([1, 3, *size])
    nothing = openvino.Model([ops.result(ops.constant(np.zeros((1, 0, 0), np.float32)))], [])
    picture = ops.parameter([1, 3, *size], np.float32)
    branch = ops.if_op(ops.equal(chosen, ops.constant(np.int32(number))).output(0))
    branch.set_then_body(body)
    branch.set_else_body(nothing)
    branch.set_input(picture.output(0), body.get_parameters()[0], None)
    branch.set_output(body.get_results()[0], nothing.get_results()[0])
    branch.constructor_validate_and_infer_types()
    return branch, picture


def _openvino() -> tuple[Any, Any]:
    """Return the module openvino and its newest operations that OpenVINO of the last years has."""
    openvino = import_openvino()
    return openvino, openvino.opset13
