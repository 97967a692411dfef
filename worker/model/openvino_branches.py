"""One OpenVINO network with a branch for each of the most common photo shapes.

A network of dynamic shape plans its memory and selects its kernels whenever the shape changes; a network of
one shape does so once, and fuses more. Separate networks would each hold all the weights. The branches of
one network share them: OpenVINO keeps one copy of a weight for each memory layout, and the branches refer
to the same constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model.graph import constants_path
from worker.model.mmap_release import MappedFile
from worker.model.openvino_import import import_openvino
from worker.model.preprocess import MULTIPLE

#: Height and width of the network's input for photos of 4:3, landscape and portrait, and of 3:2.
USUAL_SIZES = ((192, 256), (256, 192), (160, 256))


class Branches:
    """A network of branches, read from a graph. Compile it before you run it."""

    def __init__(self, graph: Path, sizes: Sequence[tuple[int, int]]) -> None:
        """Read a graph. Raises RuntimeError, as OpenVINO does, if it cannot be read."""
        self._core = import_openvino().Core()
        self._network = branch_by_size(self._core.read_model(graph), sizes)
        self._file = MappedFile(constants_path(graph))
        self._numbers = {size: number for number, size in enumerate(sizes)}
        # The inputs of the branches that do not run. Nothing reads them, so they take no memory.
        self._idle = [np.zeros((1, 3, *size), np.float32) for size in (*sizes, (MULTIPLE, MULTIPLE))]

    def compile(self, device: str, properties: dict[str, Any]) -> None:
        """Compile the network. Raises RuntimeError."""
        self._request = self._core.compile_model(self._network, device, properties).create_infer_request()
        del self._network
        # OpenVINO has copied the weights into its own layouts.
        self._file.release()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the branch of the batch's size predicts. Raises RuntimeError."""
        height, width = batch.shape[2:]
        branch = self._numbers.get((height, width), len(self._numbers))
        inputs: list[NDArray[Any]] = [np.array(branch, np.int32), *self._idle]
        inputs[1 + branch] = batch
        self._request.infer(inputs, share_inputs=True)
        # The tensor belongs to the request, and the next picture overwrites it.
        depth: NDArray[np.float32] = self._request.get_output_tensor(branch).data[0].copy()
        self._file.release_after(batch.shape)
        return depth


def branch_by_size(network: Any, sizes: Sequence[tuple[int, int]]) -> Any:
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
    """Return the module openvino and the newest operation set that recent versions have."""
    openvino = import_openvino()
    return openvino, openvino.opset13
