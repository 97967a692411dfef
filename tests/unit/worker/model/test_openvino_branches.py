from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.model.residency import resident
from worker.model.graph import constants_path
from worker.model.openvino_branches import USUAL_SIZES, Branches, branch_by_size
from worker.model.openvino_import import import_openvino
from worker.model.preprocess import network_size

BatchFactory = Callable[..., NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def branches(random_graph: Path) -> Branches:
    branches = Branches(random_graph, USUAL_SIZES)
    branches.compile("CPU", F32)
    return branches


@pytest.mark.parametrize("photo", [(3000, 4000), (4000, 3000), (2000, 3000)])
def test_photos_of_the_usual_shapes_have_a_branch(photo: tuple[int, int]):
    assert network_size(*photo) in USUAL_SIZES


@pytest.mark.parametrize("size", [*USUAL_SIZES, (256, 256), (32, 256), (96, 64)])
def test_branches_predict_the_same_as_the_graph_at_every_size(
    compiled_graph: Any, branches: Branches, batch_factory: BatchFactory, size: tuple[int, int]
):
    batch = batch_factory(*size)
    wanted = compiled_graph([batch])[0][0]

    found = branches.run(batch)

    assert found.shape == size
    # The weights are the same, but nothing guarantees that the same kernels are chosen.
    assert np.abs(found - wanted).max() / wanted.max() < 1e-5


def test_only_the_branch_that_is_chosen_runs(random_graph: Path, batch_factory: BatchFactory):
    core = import_openvino().Core()
    network = branch_by_size(core.read_model(random_graph), [(32, 64), (64, 32)])
    compiled = core.compile_model(network, "CPU", F32)
    pictures = [batch_factory(32, 64), batch_factory(64, 32), batch_factory(32, 32)]

    for number in range(3):
        outputs = compiled([np.array(number, np.int32), *pictures])

        sizes = [outputs[other].size for other in range(3)]
        assert sizes == [pictures[k][0, 0].size if k == number else 0 for k in range(3)]


def test_branches_share_their_weights(random_graph: Path):
    def constants(network: Any) -> set[int]:
        nodes = [node for node in network.get_ops() if node.get_type_name() == "Constant"]
        return {node.data.ctypes.data for node in nodes if node.data.nbytes > 100_000}

    network = branch_by_size(import_openvino().Core().read_model(random_graph), USUAL_SIZES)
    bodies = [op.get_function(0) for op in network.get_ops() if op.get_type_name() == "If"]

    assert len(bodies) == len(USUAL_SIZES) + 1
    assert len(constants(bodies[0])) > 50
    assert all(constants(body) == constants(bodies[0]) for body in bodies)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed")
def test_the_mapping_of_the_weights_is_released_after_each_size(
    random_graph: Path, batch_factory: BatchFactory
):
    branches = Branches(random_graph, ())
    branches.compile("CPU", F32)
    file = constants_path(random_graph)

    for size in ((64, 96), (96, 64), (64, 96)):
        branches.run(batch_factory(*size))
        # Small constants, such as biases, are used in place.
        assert resident(file) < file.stat().st_size / 10
