from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.model.branches import USUAL_SIZES, branch_by_size
from worker.model.openvino_import import import_openvino
from worker.model.preprocess import network_size

BatchFactory = Callable[..., NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def core() -> Any:
    return import_openvino().Core()


@pytest.fixture(scope="module")
def request_of_branches(core: Any, random_graph: Path) -> Any:
    network = branch_by_size(core.read_model(random_graph))
    return core.compile_model(network, "CPU", F32).create_infer_request()


def run(request: Any, branch: int, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
    """Return the outputs of all branches; those that do not run are given zeros."""
    sizes = (*USUAL_SIZES, (32, 32))
    inputs = [np.array(branch, np.int32), *(np.zeros((1, 3, *size), np.float32) for size in sizes)]
    inputs[1 + branch] = batch
    request.infer(inputs)
    return [request.get_output_tensor(number).data.copy() for number in range(len(sizes))]


@pytest.mark.parametrize("photo", [(3000, 4000), (4000, 3000), (2000, 3000)])
def test_photos_of_the_usual_shapes_have_a_branch(photo: tuple[int, int]):
    assert network_size(*photo) in USUAL_SIZES


@pytest.mark.parametrize("branch", range(len(USUAL_SIZES)))
def test_a_branch_predicts_what_the_graph_does_and_the_others_nothing(
    core: Any, random_graph: Path, request_of_branches: Any, batch_factory: BatchFactory, branch: int
):
    batch = batch_factory(*USUAL_SIZES[branch])
    wanted = core.compile_model(random_graph, "CPU", F32)([batch])[0]

    outputs = run(request_of_branches, branch, batch)

    assert [output.size for number, output in enumerate(outputs) if number != branch] == [0, 0, 0]
    # The same kernels on the same weights; but nothing promises that they are chosen alike.
    assert np.abs(outputs[branch] - wanted).max() / wanted.max() < 1e-5


def test_the_last_branch_takes_any_size_and_the_usual_ones_too(
    request_of_branches: Any, batch_factory: BatchFactory
):
    last = len(USUAL_SIZES)
    for size in [(256, 256), (32, 256), USUAL_SIZES[0], (96, 64)]:
        assert run(request_of_branches, last, batch_factory(*size))[last].shape == (1, *size)
