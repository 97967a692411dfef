"""The models of a machine; `tests.contracts.shared_models` tests sharing them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import SettingsError, WeightsInvalid
from shared.model_registry import (
    content_path,
    find_file_model,
    find_model,
    from_json,
    has_content,
    list_file_models,
    models_folder,
    remove,
    to_json,
)
from shared.networks import MIDAS_SMALL, Rule, file_model_name, is_file_model
from shared.settings import Settings
from tests.contracts.shared_models import SharedModelsContract, add_file
from tests.fakes import FakeObjectStore


class TestFake(SharedModelsContract):
    @pytest.fixture
    def objects(self) -> FakeObjectStore:
        return FakeObjectStore()


def test_models_are_found_by_name_beside_the_official_ones(tmp_path: Path):
    added = add_file(tmp_path)

    assert find_model("file:mine", tmp_path) == find_file_model("mine", tmp_path)
    assert find_model("file:mine", tmp_path).sha256 == added.sha256
    assert find_model("midas_small", tmp_path) is MIDAS_SMALL
    assert has_content(tmp_path, added)
    with pytest.raises(
        SettingsError, match=r"no model 'file:other' on this machine. There are .*, file:mine."
    ):
        find_model("file:other", tmp_path)


def test_a_description_survives_being_written():
    network = from_json(
        {
            "name": "file:a.b-c_1",
            "title": "Fürs Album",
            "sha256": "ab" * 32,
            "megabytes": 1300,
            "licence": "CC-BY-NC 4.0",
            "near": "low",
            "parameters": 335_000_000,
            "cost": 77.7,
            "preprocessing": {
                "rule": "fixed",
                "side": 384,
                "width": 512,
                "multiple": 1,
                "longest": 512,
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
                "way_back": "linear",
            },
        }
    )

    assert from_json(json.loads(json.dumps(to_json(network)))) == network
    assert network.fixed_size == (384, 512)
    assert network.preprocessing.rule is Rule.FIXED
    assert network.cost == pytest.approx(77.7)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "file:../x"), ("sha256", "../../etc/passwd"), ("near", "left"), ("cost", None)],
)
def test_a_malformed_description_is_refused(tmp_path: Path, field: str, value: object):
    path = models_folder(tmp_path) / "mine.json"
    description = to_json(add_file(tmp_path)) | {field: value}
    path.write_text(json.dumps(description))

    assert list_file_models(tmp_path) == []
    with pytest.raises(WeightsInvalid, match="is damaged: add or fetch the model again"):
        find_file_model("mine", tmp_path)
    remove(tmp_path, "mine")
    assert not path.exists()


def test_content_stays_as_long_as_a_name_needs_it(tmp_path: Path):
    mine, yours = add_file(tmp_path), add_file(tmp_path, name="file:yours")

    remove(tmp_path, "mine")
    assert content_path(tmp_path, yours).exists()
    remove(tmp_path, "yours")

    assert not content_path(tmp_path, mine).exists()
    with pytest.raises(SettingsError, match="no model 'file:yours'"):
        remove(tmp_path, "yours")


@pytest.mark.parametrize("name", ["file:", "file:A", "file:a/b", "file:.a", "file:a b", "file:" + "a" * 64])
def test_the_setting_takes_plain_names_only(name: str):
    with pytest.raises(SettingsError, match=r"FATHOM_MODEL must be one of midas_small, .*, file:NAME"):
        Settings.from_environ({"FATHOM_MODEL": name})


@pytest.mark.parametrize("name", ["file:a\n", "a", "files:a"])
def test_other_names_are_no_files(name: str):
    assert not is_file_model(name)


def test_the_setting_takes_the_name_of_a_file():
    assert Settings.from_environ({"FATHOM_MODEL": "file:a.b-c_1"}).model == "file:a.b-c_1"
    assert file_model_name("a") == file_model_name("file:a") == "file:a"


def test_the_registry_loads_neither_an_array_library_nor_boto3():
    code = (
        "import sys; import shared.model_registry;"
        "print([n for n in ('torch', 'numpy', 'openvino', 'boto3') if n in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
