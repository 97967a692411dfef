from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import ModelError, WeightsInvalid, WeightsUnavailable
from worker.model.export import main as export
from worker.model.graph import EXPORT_REFUSED, constants_path, ensure_graph, export_model, graph_path
from worker.model.openvino_import import import_openvino
from worker.model.weights import Weights, resolve_weights

ROOT = Path(__file__).parents[4]
BatchFactory = Callable[..., NDArray[np.float32]]


def by_torch(network: torch.nn.Module, batch: NDArray[np.float32]) -> NDArray[Any]:
    with torch.inference_mode():
        found: NDArray[Any] = network(torch.from_numpy(batch)).numpy()
    return found


def by_openvino(path: Path, batch: NDArray[np.float32]) -> NDArray[Any]:
    core = import_openvino().Core()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[Any] = compiled([batch])[0]
    return found


def test_a_graph_is_named_after_its_format_and_the_hash_of_its_weights(tmp_path: Path):
    weights = Weights(name="mine.pt", path=tmp_path / "mine.pt", sha256="ab" * 32)

    assert graph_path(weights, tmp_path) == tmp_path / "graphs" / f"midas-small-v2-{'ab' * 32}.xml"


@pytest.mark.parametrize(("count", "size"), [(1, (64, 96)), (2, (192, 256)), (3, (32, 32)), (2, (256, 32))])
def test_one_graph_takes_any_number_of_pictures_of_any_size(
    compiled_graph: Any,
    network: torch.nn.Module,
    batch_factory: BatchFactory,
    count: int,
    size: tuple[int, int],
):
    batch = batch_factory(*size, count=count)
    wanted = by_torch(network, batch)

    found = compiled_graph([batch])[0]

    assert found.shape == (count, *size)
    assert np.abs(found - wanted).max() / wanted.max() < 1e-4


def export_here(weights: Weights, out: Path) -> None:
    """Export in this process, which has torch already: a new one would take seconds to import it."""
    assert export("midas_small", weights.spec, weights.sha256, str(out)) == 0


# They are torch's own, about its exporter.
@pytest.mark.filterwarnings("ignore")
def test_another_runtime_gets_the_same_depth_from_an_onnx_export(
    tmp_path: Path, cache_dir: Path, network: torch.nn.Module, batch_factory: BatchFactory
):
    (path,) = export_model("random", cache_dir, "onnx", tmp_path / "midas.onnx", export_here)
    assert os.listdir(tmp_path) == ["midas.onnx"]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batch = batch_factory(96, 64, count=2)
    wanted = by_torch(network, batch)

    (found,) = session.run(None, {"image": batch})

    assert [(i.name, i.type, i.shape[1]) for i in session.get_inputs()] == [("image", "tensor(float)", 3)]
    assert [(o.name, o.type, len(o.shape)) for o in session.get_outputs()] == [("depth", "tensor(float)", 3)]
    assert np.abs(found - wanted).max() / wanted.max() < 1e-4


def test_a_cached_graph_is_used_without_an_export(random_graph: Path, cache_dir: Path, random_weights):
    before = random_graph.stat()

    assert ensure_graph(random_weights, cache_dir) == random_graph
    assert random_graph.stat().st_mtime_ns == before.st_mtime_ns


ENSURE = """
import sys
from pathlib import Path
from worker.model.graph import ensure_graph
from worker.model.weights import resolve_weights
cache = Path(sys.argv[1])
print(ensure_graph(resolve_weights("random", cache), cache).stat().st_ino, "torch" in sys.modules)
"""


def test_of_simultaneous_callers_one_exports_and_all_get_its_graph(tmp_path: Path, random_weights: Weights):
    exported: list[Path] = []
    all_ask = Barrier(3)

    def write(_weights: Weights, out: Path) -> None:
        exported.append(out)
        out.write_text("graph")
        constants_path(out).write_text("constants")

    def ask(_caller: int) -> Path:
        all_ask.wait()
        return ensure_graph(random_weights, tmp_path, write)

    with ThreadPoolExecutor(3) as pool:
        graphs = set(pool.map(ask, range(3)))

    assert graphs == {graph_path(random_weights, tmp_path)}
    assert len(exported) == 1


@pytest.mark.slow
def test_of_simultaneous_processes_one_exports_and_the_others_do_not_load_torch(tmp_path: Path):
    left_behind = tmp_path / "graphs" / "export-killed"
    left_behind.mkdir(parents=True)
    (left_behind / "half.xml").write_bytes(b"half a graph")
    command = [sys.executable, "-c", ENSURE, str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    answers = [process.communicate(timeout=120) for process in processes]

    # A second export would have replaced the file that the first process saw.
    graphs = list((tmp_path / "graphs").glob("*.xml"))
    assert [graph.stat().st_ino for graph in graphs] == [int(answers[0][0].split()[0])]
    assert answers == [(f"{graphs[0].stat().st_ino} False\n", "")] * 3
    names = {path.name for path in (tmp_path / "graphs").iterdir()}
    assert names == {graphs[0].name, constants_path(graphs[0]).name, "export.lock"}


@pytest.fixture
def few(tmp_path: Path, random_tensors: dict[str, Tensor]) -> Weights:
    """A file of one tensor."""
    path = tmp_path / "few.pt"
    torch.save({"scratch.output_conv.4.bias": random_tensors["scratch.output_conv.4.bias"]}, path)
    return resolve_weights(str(path), tmp_path)


def check_that_few_are_refused(few: Weights, cache_dir: Path) -> None:
    with pytest.raises(WeightsInvalid, match=r"few\.pt does not hold weights of MiDaS_small: it lacks"):
        ensure_graph(few, cache_dir)

    assert [path.name for path in (cache_dir / "graphs").iterdir()] == ["export.lock"]


@pytest.mark.slow
def test_refused_weights_raise_in_the_caller_and_leave_no_graph(few: Weights, tmp_path: Path):
    check_that_few_are_refused(few, tmp_path)


def test_what_an_export_says_of_refused_weights_reaches_the_caller(
    few: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    status = export("midas_small", few.spec, few.sha256, str(tmp_path / "out.xml"))
    (tmp_path / "said").write_text(capfd.readouterr().out)
    # It ends as the export did, without torch, which takes seconds to import.
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat '{tmp_path}/said'\nexit {status}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    check_that_few_are_refused(few, tmp_path)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"after", WeightsInvalid.code, "changed while it was read"),
        (None, WeightsUnavailable.code, "mine.pt"),
    ],
)
def test_a_file_that_is_not_the_one_that_was_hashed_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, code: str, message: str
):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"before")
    weights = resolve_weights(str(path), tmp_path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    status = export("midas_small", weights.spec, weights.sha256, str(tmp_path / "out.xml"))

    said = json.loads(capsys.readouterr().out)
    assert (status, said["code"]) == (EXPORT_REFUSED, code)
    assert message in said["message"]


def test_a_cache_that_cannot_be_written_is_named_in_the_error(tmp_path: Path, random_weights: Weights):
    (tmp_path / "graphs").write_text("a file where the folder belongs")

    with pytest.raises(ModelError, match=f"cannot be cached in {tmp_path}/graphs: File exists"):
        ensure_graph(random_weights, tmp_path)


def test_openvino_gets_the_same_depth_from_its_two_files(
    random_graph: Path, cache_dir: Path, tmp_path: Path, batch_factory: BatchFactory
):
    out = tmp_path / "midas.xml"
    batch = batch_factory(64, 96, count=2)

    written = export_model("random", cache_dir, "openvino", out)

    assert written == (out, tmp_path / "midas.bin")
    assert set(os.listdir(tmp_path)) == {"midas.xml", "midas.bin"}
    assert np.array_equal(by_openvino(out, batch), by_openvino(random_graph, batch))


@pytest.mark.parametrize(
    ("format", "out", "complaint"),
    [
        ("torchscript", "midas.pt", "format must be onnx or openvino"),
        ("openvino", "midas.onnx", r"ends in \.xml"),
        ("openvino", "nowhere/midas.xml", r"nowhere/midas\.xml cannot be written: No such file"),
        ("onnx", "nowhere/midas.onnx", r"nowhere/midas\.onnx cannot be written: No such file"),
    ],
)
def test_an_export_that_cannot_be_written_says_why(
    random_graph: Path, cache_dir: Path, tmp_path: Path, format: str, out: str, complaint: str
):
    with pytest.raises(ModelError, match=complaint):
        export_model("random", cache_dir, format, tmp_path / out)
