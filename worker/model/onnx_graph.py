"""Turn an ONNX file into a graph like those of Fathom: `python -m worker.model.onnx_graph FILE NEAR OUT`.

The graph takes float32 N x 3 x H x W and returns N x H x W, where bigger is nearer, so nothing else needs to
know where it came from. `worker.model.graph` runs this in a process of its own.
"""

from __future__ import annotations

import math
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import FathomError, WeightsInvalid
from shared.networks import Near
from worker.model.graph import print_refusal
from worker.model.openvino_import import import_openvino, reason_of

#: How a tensor names the file of its data: the key `location` of an entry in `TensorProto.external_data`
#: (field 13), a message of `key` (field 1) and `value` (field 2), in onnx.proto of ONNX 1.23.
_EXTERNAL_DATA = b"\x6a"
_LOCATION = b"\x0a\x08location\x12"

#: Types of constants that are shapes, axes and conditions, not weights.
_INDICES = ("i64", "i32", "boolean")

_OUTPUTS = "H x W, N x H x W or N x 1 x H x W"


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What a file says of its network."""

    #: Height and width of the only input that it takes; None if it takes any.
    fixed: tuple[int, int] | None
    #: Numbers in its constants.
    parameters: int


def convert(source: Path, near: Near, out: Path) -> None:
    """Write an ONNX file as OpenVINO's pair of files: `out`, which ends in .xml, and its .bin.

    Raises WeightsInvalid if it is no network that maps one picture to one map.
    """
    openvino = import_openvino()
    graph = _read(source)
    _check_input(graph)
    depth = _to_maps(graph)
    if near is Near.LOW:
        depth = openvino.opset13.negative(depth).output(0)
    maps = openvino.Model([openvino.opset13.result(depth)], graph.get_parameters())
    openvino.save_model(maps, out, compress_to_fp16=False)


def inspect(source: Path) -> GraphFacts:
    """Return what an ONNX file says of its network. Raises as `convert` does."""
    graph = _read(source)
    fixed = _check_input(graph)
    _to_maps(graph)
    constants = (op.output(0) for op in graph.get_ops() if op.get_type_name() == "Constant")
    weights = (each for each in constants if each.get_element_type().get_type_name() not in _INDICES)
    return GraphFacts(fixed=fixed, parameters=sum(math.prod(each.get_shape()) for each in weights))


def external_data(source: Path) -> str | None:
    """Return the name of the file that has weights of an ONNX file; None if it has all itself.

    Raises OSError.
    """
    with source.open("rb") as file:
        if not source.stat().st_size:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(_LOCATION)
            while at >= 0:
                start = at + len(_LOCATION)
                if data[at - 2 : at - 1] == _EXTERNAL_DATA:
                    return data[start + 1 : start + 1 + data[start]].decode(errors="replace")
                at = data.find(_LOCATION, start)
    return None


def _read(source: Path) -> Any:
    openvino = import_openvino()
    try:
        return openvino.Core().read_model(source)
    except RuntimeError as exc:
        version = openvino.get_version().partition("-")[0]
        # Otherwise it names the path alone.
        reason = "" if "Unable to read" in str(exc) else f" It says: {reason_of(exc)}."
        raise WeightsInvalid(
            f"The file is no ONNX model that OpenVINO {version} reads, or it is damaged.{reason}"
        ) from exc


def _check_input(graph: Any) -> tuple[int, int] | None:
    """Return height and width of the input if they are fixed. Raises WeightsInvalid for a wrong input."""
    if len(graph.inputs) != 1:
        raise WeightsInvalid(f"The model has {_named(graph.inputs)} as inputs, and must have one.")
    picture = graph.input(0)
    shape, kind = picture.get_partial_shape(), picture.get_element_type().get_type_name()
    if kind != "f32":
        raise WeightsInvalid(f"The model's input is {kind}, and must be float32 (f32).")
    wanted = shape.rank.is_static and len(shape) == 4 and _may_be(shape[0], 1) and _may_be(shape[1], 3)
    if not wanted:
        raise WeightsInvalid(f"The model's input is {_say(shape)}, and must be N x 3 x H x W, N any or 1.")
    if shape[2].is_dynamic != shape[3].is_dynamic:
        raise WeightsInvalid(
            f"The model's input is {_say(shape)}: height and width must both be fixed, or neither."
        )
    return None if shape[2].is_dynamic else (shape[2].get_length(), shape[3].get_length())


def _to_maps(graph: Any) -> Any:
    """Return the output as float32, N x H x W. Raises WeightsInvalid for a wrong output."""
    ops = import_openvino().opset13
    if len(graph.outputs) != 1:
        raise WeightsInvalid(f"The model has {_named(graph.outputs)} as outputs, and must have one.")
    # A result has one input, which is the output itself.
    depth = graph.get_results()[0].input_value(0)
    shape = depth.get_partial_shape()
    rank = len(shape) if shape.rank.is_static else 0
    if rank not in (2, 3, 4) or (rank == 4 and not _may_be(shape[1], 1)):
        raise WeightsInvalid(f"The model's output is {_say(shape)}, and must be {_OUTPUTS}.")
    if not depth.get_element_type().is_real():
        kind = depth.get_element_type().get_type_name()
        raise WeightsInvalid(f"The model's output is {kind}, and must be of floating point.")
    if depth.get_element_type().get_type_name() != "f32":
        depth = ops.convert(depth, "f32").output(0)
    if rank == 2:
        return ops.unsqueeze(depth, ops.constant([0])).output(0)
    return ops.squeeze(depth, ops.constant([1])).output(0) if rank == 4 else depth


def _may_be(dimension: Any, size: int) -> bool:
    return bool(dimension.is_dynamic or dimension.get_length() == size)


def _say(shape: Any) -> str:
    """Return a shape as people write it, `?` for what is not fixed."""
    if shape.rank.is_dynamic:
        return "of an unknown number of dimensions"
    return " x ".join("?" if side.is_dynamic else str(side.get_length()) for side in shape) or "one number"


def _named(ports: list[Any]) -> str:
    return ", ".join(port.get_any_name() if port.get_names() else "?" for port in ports) or "nothing"


def main(source: str, near: str, out: str) -> int:
    """Convert, and return the exit status."""
    try:
        convert(Path(source), Near(near), Path(out))
    except FathomError as exc:
        return print_refusal(exc)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
