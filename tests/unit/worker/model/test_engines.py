from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ModelError, WeightsUnavailable
from tests.unit.worker.model.conftest import SettingsFactory
from worker.model.engine import EngineInfo, InferenceEngine
from worker.model.engines import load_engine, prepare_engine
from worker.model.graph import constants_path, graph_path
from worker.model.openvino_engine import BRANCH_AFTER, OpenVinoEngine, choose_precision, cpu_capabilities
from worker.model.preprocess import prepare
from worker.model.torch_engine import TorchEngine
from worker.model.weights import Weights, resolve_weights

ROOT = Path(__file__).parents[4]
BatchFactory = Callable[..., NDArray[np.float32]]

#: The largest allowed difference from the official network, as a share of its maximum.
TOLERANCES = {"torch": 1e-4, "openvino": 1e-3}

SIZES = [(256, side) for side in range(32, 257, 32)] + [(side, 256) for side in range(32, 256, 32)]
#: Some of those with more detail.
DETAILED_SIZES = [(288, 384), (384, 256), (32, 384)]


@pytest.fixture(scope="session")
def torch_engine(random_weights: Weights) -> TorchEngine:
    return TorchEngine(random_weights)


@pytest.fixture(scope="session")
def openvino_engine(random_graph: Path, random_weights: Weights) -> OpenVinoEngine:
    return OpenVinoEngine(random_graph, random_weights)


@pytest.fixture(params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest) -> InferenceEngine:
    found: InferenceEngine = request.getfixturevalue(f"{request.param}_engine")
    return found


def error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the largest difference as a share of the largest expected value."""
    return float(np.abs(found - wanted).max() / wanted.max())


@pytest.mark.parametrize(("tag", "size"), [("landscape", (192, 256)), ("portrait", (256, 128))])
def test_the_network_is_the_official_one(
    engine: InferenceEngine,
    parity: Mapping[str, NDArray[Any]],
    batch_factory: BatchFactory,
    tag: str,
    size: tuple[int, int],
):
    depth = engine.predict(batch_factory(*size, tag=tag))

    assert depth.shape == size
    assert depth.dtype == np.float32
    assert error(depth, parity[f"{tag}_output"]) < TOLERANCES[engine.info.engine]


def test_a_picture_gets_the_official_depth_at_its_own_size(
    engine: InferenceEngine, parity: Mapping[str, NDArray[Any]]
):
    rgb = parity["picture_rgb"]

    prediction = engine.predict(prepare(rgb))
    depth = cv2.resize(prediction, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_CUBIC)

    tolerance = TOLERANCES[engine.info.engine]
    assert depth.shape == (480, 640)
    assert error(depth[::4, ::4], parity["picture_depth_every_4th"]) < tolerance
    assert error(np.array([depth.min(), depth.max()]), parity["picture_depth_min_max"]) < tolerance


@pytest.mark.parametrize("size", SIZES + DETAILED_SIZES)
def test_one_graph_gives_what_torch_gives_at_every_size(
    torch_engine: TorchEngine,
    openvino_engine: OpenVinoEngine,
    batch_factory: BatchFactory,
    size: tuple[int, int],
):
    batch = batch_factory(*size, tag="any")

    assert error(openvino_engine.predict(batch), torch_engine.predict(batch)) < 1e-4


def test_a_prediction_belongs_to_the_caller(engine: InferenceEngine, batch_factory: BatchFactory):
    first = engine.predict(batch_factory(64, 96, tag="a"))
    kept = first.copy()

    engine.predict(batch_factory(64, 96, tag="something else"))

    assert np.array_equal(first, kept)
    assert first.flags.writeable
    assert first.flags.c_contiguous


def test_a_prediction_does_not_depend_on_what_came_before(
    engine: InferenceEngine, batch_factory: BatchFactory
):
    batch = batch_factory(64, 96)
    first = engine.predict(batch)
    for height, width in SIZES[:4]:
        engine.predict(batch_factory(height, width))

    assert np.array_equal(engine.predict(batch), first)


def test_branches_are_added_automatically_and_change_no_prediction(
    random_graph: Path, random_weights: Weights, batch_factory: BatchFactory
):
    engine = OpenVinoEngine(random_graph, random_weights, precision="f32")
    usual, other = batch_factory(192, 256), batch_factory(32, 64)
    before = engine.predict(usual), engine.predict(other)

    for _ in range(BRANCH_AFTER):
        engine.predict(batch_factory(32, 32))

    assert error(engine.predict(usual), before[0]) < 1e-5
    assert error(engine.predict(other), before[1]) < 1e-5


def test_an_engine_keeps_working_when_its_graph_is_deleted(
    tmp_path: Path,
    random_graph: Path,
    random_weights: Weights,
    batch_factory: BatchFactory,
    caplog: pytest.LogCaptureFixture,
):
    graph = tmp_path / "graph.xml"
    for path in (graph, constants_path(graph)):
        shutil.copyfile(random_graph.with_suffix(path.suffix), path)
    engine = OpenVinoEngine(graph, random_weights, precision="f32")
    before = engine.predict(batch_factory(192, 256))
    graph.unlink()
    constants_path(graph).unlink()

    engine.branch()

    assert np.array_equal(engine.predict(batch_factory(192, 256)), before)
    assert "cannot be read any more" in caplog.text


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 64, 100), np.float32),
        np.zeros((1, 3, 0, 64), np.float32),
        np.zeros((1, 1, 64, 64), np.float32),
        np.zeros((2, 3, 64, 64), np.float32),
        np.zeros((3, 64, 64), np.float32),
        np.zeros((1, 3, 64, 64), np.float64),
        np.zeros((1, 3, 64, 64), np.uint8),
    ],
)
def test_an_unsupported_input_is_refused(engine: InferenceEngine, batch: NDArray[Any]):
    with pytest.raises(ModelError, match="takes float32 1 x 3 x h x w"):
        engine.predict(batch)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_the_settings_choose_the_engine_and_its_info_names_it(
    settings_factory: SettingsFactory, random_weights: Weights, random_graph: Path, name: str
):
    engine = load_engine(settings_factory(engine=name))

    assert engine.info == EngineInfo(
        model="MiDaS_small",
        weights="random",
        weights_sha256=random_weights.sha256,
        engine=name,
        precision="f32",
    )


def test_random_weights_are_announced_as_meaningless(
    settings_factory: SettingsFactory, random_graph: Path, caplog: pytest.LogCaptureFixture
):
    load_engine(settings_factory())

    assert ["not depth maps" in record.message for record in caplog.records] == [True]
    assert caplog.records[0].levelno == logging.WARNING


def test_the_weights_in_use_are_logged_by_name_and_hash(
    settings_factory: SettingsFactory, half_file: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    load_engine(settings_factory(weights=str(half_file), engine="torch"))

    record = caplog.records[-1]
    assert record.message == "The network MiDaS_small runs on the half.safetensors weights, by torch in f32."
    assert vars(record)["weights_sha256"] == resolve_weights(str(half_file), Path()).sha256


@pytest.mark.slow
def test_weights_from_a_file_reach_both_engines_alike(
    settings_factory: SettingsFactory, half_file: Path, tmp_path: Path, batch_factory: BatchFactory
):
    settings = {"weights": str(half_file), "cache_dir": tmp_path}
    batch = batch_factory(64, 96)

    by_torch = load_engine(settings_factory(engine="torch", **settings))
    by_openvino = load_engine(settings_factory(engine="openvino", **settings))

    assert by_openvino.info.weights == by_torch.info.weights == "half.safetensors"
    assert error(by_openvino.predict(batch), by_torch.predict(batch)) < 1e-4


def test_without_weights_nothing_is_loaded(settings_factory: SettingsFactory, tmp_path: Path):
    with pytest.raises(WeightsUnavailable, match="fathom model fetch"):
        load_engine(settings_factory(weights="official", cache_dir=tmp_path))


def test_a_damaged_graph_is_named_in_the_error(tmp_path: Path, random_weights: Weights):
    graph = tmp_path / "damaged.xml"
    graph.write_bytes(b"<?xml version='1.0'?><net" + bytes(1000))

    with pytest.raises(ModelError, match=r"damaged\.xml.*delete it"):
        OpenVinoEngine(graph, random_weights)


def test_a_graph_without_its_weights_is_named_in_the_error(
    tmp_path: Path, random_graph: Path, random_weights: Weights
):
    graph = tmp_path / "alone.xml"
    shutil.copyfile(random_graph, graph)

    with pytest.raises(ModelError, match=r"alone\.xml.*delete it"):
        OpenVinoEngine(graph, random_weights)


def test_preparing_leaves_the_graph_in_the_cache(
    settings_factory: SettingsFactory, random_weights: Weights, random_graph: Path, cache_dir: Path
):
    prepare_engine(settings_factory())

    assert graph_path(random_weights, cache_dir) == random_graph
    assert random_graph.exists()


def test_preparing_for_torch_makes_no_graph(settings_factory: SettingsFactory, tmp_path: Path):
    prepare_engine(settings_factory(engine="torch", cache_dir=tmp_path))

    assert list(tmp_path.iterdir()) == []


def named(weights: str) -> Weights:
    return Weights(name=weights, path=None, sha256="0" * 64)


@pytest.mark.parametrize(
    ("asked", "weights", "capabilities", "precision"),
    [
        ("auto", "starter", ["FP32", "BF16"], "bf16"),
        ("auto", "starter", ["FP32"], "f32"),
        ("auto", "official", ["FP32", "BF16"], "f32"),
        ("auto", "mine.pt", ["FP32", "BF16"], "f32"),
        ("auto", "random", ["FP32", "BF16"], "f32"),
        ("f32", "starter", ["FP32", "BF16"], "f32"),
        ("bf16", "official", ["FP32", "BF16"], "bf16"),
        ("bf16", "starter", ["FP32"], "f32"),
    ],
)
def test_auto_is_bf16_only_for_measured_weights_on_a_cpu_with_bf16(
    asked: str, weights: str, capabilities: list[str], precision: str
):
    assert choose_precision(asked, named(weights), capabilities) == precision


def test_a_cpu_without_bf16_is_named_as_the_reason(caplog: pytest.LogCaptureFixture):
    choose_precision("bf16", named("official"), ["FP32"])

    assert "bf16, which this CPU does not have" in caplog.text


def test_openvino_computes_in_the_precision_it_reports(
    random_graph: Path, random_weights: Weights, batch_factory: BatchFactory, openvino_engine: OpenVinoEngine
):
    if "BF16" not in cpu_capabilities():
        pytest.skip("This CPU has no bf16.")
    batch = batch_factory(192, 256, tag="landscape")

    engine = OpenVinoEngine(random_graph, random_weights, precision="bf16")

    assert engine.info.precision == "bf16"
    assert 1e-4 < error(engine.predict(batch), openvino_engine.predict(batch)) < 0.5


def test_torch_computes_in_the_precision_it_reports(
    random_weights: Weights, batch_factory: BatchFactory, torch_engine: TorchEngine
):
    batch = batch_factory(64, 96)

    engine = TorchEngine(random_weights, precision="bf16")
    depth = engine.predict(batch)

    assert engine.info.precision == "bf16"
    assert depth.dtype == np.float32
    assert 1e-4 < error(depth, torch_engine.predict(batch)) < 0.5


LOAD_AND_PREDICT = """
import json, sys
import numpy as np
from shared.settings import Settings
from worker.model.engines import load_engine
engine = load_engine(Settings.from_environ())
engine.predict(np.zeros((1, 3, 64, 64), np.float32))
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
"""


def test_a_worker_with_a_cached_graph_imports_no_torch_and_sends_no_telemetry(
    random_graph: Path, cache_dir: Path, tmp_path: Path
):
    # The telemetry of OpenVINO would leave its client id in the home directory.
    environ = {"FATHOM_WEIGHTS": "random", "FATHOM_CACHE_DIR": str(cache_dir), "HOME": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, "-c", LOAD_AND_PREDICT],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    modules = {name.partition(".")[0] for name in json.loads(ended.stdout)}
    assert "openvino" in modules
    assert modules.isdisjoint({"torch", "torchvision", "timm", "onnx", "safetensors", "openvino_telemetry"})
    assert list(tmp_path.iterdir()) == []
