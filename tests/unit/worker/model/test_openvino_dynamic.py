from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.model.graph import constants_path
from worker.model.openvino_dynamic import DynamicNetwork, compiled_path
from worker.model.openvino_import import import_openvino

BatchFactory = Callable[..., NDArray[np.float32]]

SHAPES = [(192, 256), (256, 192), (64, 256), (256, 256), (32, 32)]


@pytest.fixture(scope="module")
def made(random_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph whose compiled network is cached beside it."""
    graph = copied(random_graph, tmp_path_factory.mktemp("made"))
    network(graph)
    return graph


@pytest.fixture(scope="module")
def expected(made: Path, batch_factory: BatchFactory) -> NDArray[np.float32]:
    """What the network predicts for one small picture."""
    return network(made).run(batch_factory(64, 96))


@pytest.fixture
def graph(made: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    copy = copied(made, tmp_path)
    shutil.copyfile(blob(made), blob(copy))
    return copy


def copied(graph: Path, folder: Path) -> Path:
    copy = folder / "network.xml"
    for path in (copy, constants_path(copy)):
        shutil.copyfile(graph.with_suffix(path.suffix), path)
    return copy


def network(graph: Path, **properties: Any) -> DynamicNetwork:
    return DynamicNetwork(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"} | properties)


def blob(graph: Path, **properties: Any) -> Path:
    core = import_openvino().Core()
    return compiled_path(graph, core, "CPU", {"INFERENCE_PRECISION_HINT": "f32"} | properties)


def test_the_second_process_needs_no_graph_and_predicts_the_same(graph: Path, batch_factory: BatchFactory):
    compiled = blob(graph)
    compiled.unlink()
    first = network(graph)
    graph.unlink()
    constants_path(graph).unlink()

    second = network(graph)

    for height, width in SHAPES:
        batch = batch_factory(height, width)
        depth = second.run(batch)
        assert depth.shape == (height, width)
        assert np.array_equal(depth, first.run(batch))
    assert sorted(path.suffix for path in graph.parent.iterdir()) == [".blob", ".lock"]


@pytest.mark.parametrize("damage", ["empty", "cut off", "something else"])
def test_a_compiled_network_that_is_damaged_is_made_again(
    graph: Path,
    expected: NDArray[np.float32],
    batch_factory: BatchFactory,
    damage: str,
    caplog: pytest.LogCaptureFixture,
):
    whole = blob(graph).read_bytes()
    damaged = {"empty": b"", "cut off": whole[: len(whole) // 2], "something else": bytes(10_000)}[damage]
    blob(graph).write_bytes(damaged)

    found = network(graph)

    assert np.array_equal(found.run(batch_factory(64, 96)), expected)
    assert blob(graph).stat().st_size > len(whole) // 2
    assert [vars(record)["action"] for record in caplog.records] == ["read_compiled_network"]


def test_other_properties_are_another_compiled_network(graph: Path):
    assert blob(graph) != blob(graph, NUM_STREAMS=2)
    assert blob(graph) == blob(graph)


def test_a_cache_that_cannot_be_written_costs_only_time(
    graph: Path,
    expected: NDArray[np.float32],
    batch_factory: BatchFactory,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    blob(graph).unlink()
    (graph.parent / "compile.lock").mkdir()

    found = network(graph)

    assert np.array_equal(found.run(batch_factory(64, 96)), expected)
    assert not blob(graph).exists()
    assert "cannot be written" in caplog.text


def test_while_one_process_writes_the_others_do_not(graph: Path, batch_factory: BatchFactory):
    blob(graph).unlink()
    with (graph.parent / "compile.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        found = network(graph)

        assert found.run(batch_factory(64, 96)).shape == (64, 96)
        assert not blob(graph).exists()
