"""Which ONNX files are added as models, and the sentence that refuses each of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from shared.errors import FathomError, ModelError, SettingsError, WeightsInvalid
from shared.model_registry import (
    content_path,
    list_file_models,
    models_folder,
    register,
    remove,
    store_content,
)
from shared.networks import Near, Network, Rule, WayBack
from shared.settings import Settings
from tests.onnx_files import write_onnx
from worker.model.engines import load_engine, prepare_engine
from worker.model.graph import EXPORT_REFUSED, export_model, graph_path
from worker.model.onnx_check import Draft, add_model, check_model, main, to_preprocessing
from worker.model.onnx_graph import external_data
from worker.model.preprocess import prepare
from worker.model.weights import find_weights

DRAFT = Draft(
    name="file:mine",
    title="Mine",
    licence="CC0",
    near="high",
    input=64,
    multiple=32,
    mean=(0, 0, 0),
    std=(1, 1, 1),
)
Check = Callable[..., Network]


@pytest.fixture
def check(cache: Path, tmp_path: Path) -> Check:
    """Check a model in this process: `check(draft, shape=(1, 3, 64, 64))`."""

    def run(draft: Draft = DRAFT, **model: Any) -> Network:
        path = write_onnx(tmp_path / "model.onnx", **model)
        return check_model(draft, store_content(cache, [path.read_bytes()]), 1, cache)

    return run


@pytest.fixture
def add(check: Check, cache: Path) -> Check:
    """Add a model that this process has checked, which takes a third of the time of another process."""

    def run(draft: Draft = DRAFT, **model: Any) -> Network:
        network = check(draft, **model)
        register(cache, network)
        return network

    return run


def settings(cache: Path, **changes: Any) -> Settings:
    environ = {"FATHOM_CACHE_DIR": str(cache), "FATHOM_MODEL": "file:mine"}
    return replace(Settings.from_environ(environ), **changes)


def photo(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, : width // 2] = 255
    return rgb


def test_an_added_model_is_described_by_its_file_and_its_owner(cache: Path, tmp_path: Path):
    added = add_model(write_onnx(tmp_path / "model.onnx"), DRAFT, cache)

    assert list_file_models(cache) == [added]
    assert added.name == "file:mine"
    assert (added.title, added.code_licence, added.weights_licence) == ("Mine", "CC0", "CC0")
    assert added.parameters == 3
    assert added.cost >= 0.1
    assert added.fixed_size is None
    assert added.preprocessing == to_preprocessing(DRAFT, None)
    assert content_path(cache, added).read_bytes() == (tmp_path / "model.onnx").read_bytes()


@pytest.mark.parametrize(("near", "sign"), [("high", 1), ("low", -1)])
def test_bigger_is_nearer_whatever_the_model_says(add: Check, cache: Path, near: str, sign: int):
    added = add(replace(DRAFT, near=near))
    engine = load_engine(settings(cache))
    batch = prepare(photo(), added.preprocessing)

    depth = engine.predict(batch)

    wanted = np.tensordot(np.array([0.2, 0.3, 0.5], np.float32), batch[0], axes=1)
    assert np.allclose(depth, sign * wanted, atol=1e-6)
    assert (engine.info.model, engine.info.weights) == ("Mine", "file:mine")
    assert engine.info.precision == "f32"


@pytest.mark.parametrize(
    ("then", "output"),
    [
        ([("Squeeze _ one", {})], (1, "height", "width")),
        ([("Squeeze _ both", {})], ("height", "width")),
        ([("Cast _", {"to": TensorProto.FLOAT})], (1, 1, "height", "width")),
    ],
)
def test_all_shapes_of_one_map_are_taken(check: Check, then: Any, output: Any):
    constants = {"one": np.array([1]), "both": np.array([0, 1])}

    assert check(then=then, output=output, constants=constants).fixed_size is None


@pytest.mark.parametrize("said", [None, (64, 96)])
def test_a_fixed_size_is_read_from_the_file(check: Check, said: tuple[int, int] | None):
    checked = check(replace(DRAFT, input=None, multiple=None, fixed=said), shape=(1, 3, 64, 96))

    assert checked.fixed_size == (64, 96)
    assert checked.preprocessing.rule is Rule.FIXED
    assert prepare(photo(300, 200), checked.preprocessing).shape == (1, 3, 64, 96)


def test_a_model_of_any_size_can_be_kept_to_one(check: Check):
    assert check(replace(DRAFT, input=None, fixed=(32, 96))).fixed_size == (32, 96)


CHANNELS = {"two": np.zeros((2, 1, 1, 1), np.float32)}


@pytest.mark.parametrize(
    ("draft", "model", "sentence"),
    [
        ({}, {"shape": (1, 4, "h", "w")}, "input is 1 x 4 x ? x ?, and must be N x 3 x H x W"),
        ({}, {"shape": (4, 3, "h", "w")}, "input is 4 x 3 x ? x ?"),
        ({}, {"shape": (1, 3, 64, "w")}, "must both be fixed, or neither"),
        ({}, {"kind": TensorProto.UINT8}, "input is u8, and must be float32"),
        ({}, {"more_outputs": ["cast"], "kind": TensorProto.FLOAT16}, "input is f16"),
        (
            {},
            {"then": [("Conv _ two", {})], "constants": CHANNELS, "output": (1, 2, "h", "w")},
            "output is 1 x 2 x ? x ?, and must be H x W, N x H x W or N x 1 x H x W",
        ),
        ({}, {"then": [("Flatten _", {"axis": 4})], "output": ("n", 1)}, "must agree"),
        ({}, {"then": [("Identity _", {})], "more_outputs": ["step0"]}, "has step1, step0 as outputs"),
        ({}, {"then": [("AveragePool _", {"kernel_shape": [2, 2], "strides": [2, 2]})]}, "makes 32 x "),
        (
            {},
            {"then": [("Frobnicate _", {})]},
            "It says: No conversion rule found for operations: Frobnicate",
        ),
        ({}, {"weights": (0, 0, 0)}, "the same value everywhere"),
        ({}, {"weights": (np.nan, 0, 0)}, "are not finite; all must be"),
        (
            {"fixed": (64, 64)},
            {"shape": (1, 3, 64, 96)},
            "takes 64 x 96 (H x W) only, and --fixed says 64 x 64",
        ),
        ({"input": 128}, {"shape": (1, 3, 64, 96)}, "takes 64 x 96 only, and --input says 128"),
        ({"multiple": None}, {}, "say with --input and --multiple"),
        ({"multiple": 48}, {}, "--input (64) and --longest (128) must be multiples of 48"),
        ({"longest": 32}, {}, "the longest side must not be the smaller"),
    ],
)
def test_a_refusal_names_what_is_wrong_and_what_was_expected(
    check: Check, draft: dict[str, Any], model: dict[str, Any], sentence: str
):
    with pytest.raises((WeightsInvalid, SettingsError)) as refused:
        check(replace(DRAFT, **draft), **model)

    assert sentence in refused.value.message


def test_a_model_that_was_traced_at_one_size_is_refused_as_any_size(check: Check):
    # Added to a map of 64 x 96 alone.
    baked = {"baked": np.zeros((1, 1, 64, 96), np.float32)}

    with pytest.raises(WeightsInvalid, match="If it takes one size only, give --fixed HxW"):
        check(then=[("Add _ baked", {})], constants=baked)


def refusal(file: Path, cache: Path, draft: Draft = DRAFT) -> FathomError:
    with pytest.raises(FathomError) as refused:
        add_model(file, draft, cache)
    return refused.value


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"\x00" * 64, lambda data: data[:60]])
def test_a_damaged_file_is_refused(
    check: Check,
    tmp_path: Path,
    cache: Path,
    damage: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
):
    data = damage(write_onnx(tmp_path / "model.onnx").read_bytes())

    status = main(str(cache), store_content(cache, [data]), "1", json.dumps(vars(DRAFT)))

    refused = json.loads(capsys.readouterr().out)
    assert status == EXPORT_REFUSED
    assert "no ONNX model that OpenVINO 2" in refused["message"]


def test_what_is_refused_leaves_nothing(tmp_path: Path, cache: Path):
    before = sorted((cache / "graphs").iterdir())

    refused = refusal(write_onnx(tmp_path / "model.onnx", weights=(0, 0, 0)), cache)

    assert isinstance(refused, WeightsInvalid)
    assert "the same value everywhere" in refused.message
    assert not list(models_folder(cache).iterdir())
    assert sorted(path for path in (cache / "graphs").iterdir() if path.suffix != ".lock") >= before
    assert not list((cache / "graphs").glob("onnx*"))


def test_weights_in_another_file_are_refused_by_its_name(tmp_path: Path, cache: Path):
    file = write_onnx(tmp_path / "model.onnx", external="model.onnx_data")

    refused = refusal(file, cache)

    assert refused.message.startswith(
        "model.onnx has its weights in model.onnx_data, and must hold them itself"
    )
    assert external_data(write_onnx(tmp_path / "whole.onnx")) is None
    assert not models_folder(cache).exists()


def test_a_name_that_other_content_has_is_refused_unless_it_is_replaced(tmp_path: Path, cache: Path):
    first = add_model(write_onnx(tmp_path / "model.onnx"), DRAFT, cache)
    other = write_onnx(tmp_path / "model.onnx", weights=(1, 0, 0))

    taken = refusal(other, cache)
    replaced = add_model(other, DRAFT, cache, replace=True)

    assert isinstance(taken, ModelError)
    assert "Another model on this machine has the name file:mine" in taken.message
    assert list_file_models(cache) == [replaced]
    assert not content_path(cache, first).exists()
    assert not list((cache / "graphs").glob(f"*{first.sha256}*"))


@pytest.mark.parametrize("name", ["", "Mine", "../mine", "-mine", "m" * 64, "file:file:mine"])
def test_a_name_is_short_and_plain(tmp_path: Path, cache: Path, name: str):
    refused = refusal(write_onnx(tmp_path / "model.onnx"), cache, replace(DRAFT, name=name))

    assert "cannot have the name" in refused.message


def test_a_removed_model_leaves_nothing(add: Check, cache: Path):
    added = add()
    assert graph_path(find_weights(settings(cache)), cache).exists()

    remove(cache, "mine")

    assert not list(models_folder(cache).iterdir())
    assert not list((cache / "graphs").glob(f"*{added.sha256}*"))
    with pytest.raises(SettingsError, match="There is no model 'file:mine' on this machine"):
        find_weights(settings(cache))


def test_a_file_that_changed_is_not_run(add: Check, cache: Path):
    added = add()
    content_path(cache, added).write_bytes(b"something else")

    with pytest.raises(WeightsInvalid, match="is not the file of file:mine"):
        load_engine(settings(cache))


def test_torch_refuses_a_file(add: Check, cache: Path):
    add()

    for use in (prepare_engine, load_engine):
        with pytest.raises(
            ModelError, match="file:mine is an ONNX file, which FATHOM_ENGINE=torch cannot run"
        ):
            use(settings(cache, engine="torch"))


def test_a_model_is_exported_as_it_was_added_or_for_openvino(add: Check, tmp_path: Path, cache: Path):
    added = add(replace(DRAFT, near="low", resize="linear"))
    prepare_engine(settings(cache))

    (onnx,) = export_model("auto", cache, "onnx", tmp_path / "out.onnx", network=added)
    xml, constants = export_model("auto", cache, "openvino", tmp_path / "out.xml", network=added)

    assert onnx.read_bytes() == (tmp_path / "model.onnx").read_bytes()
    assert b"Negative" in xml.read_bytes()
    assert constants.stat().st_size >= 3 * 4
    assert (added.near, added.preprocessing.way_back) == (Near.LOW, WayBack.LINEAR)
