from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import SettingsError, WeightsInvalid, WeightsUnavailable
from worker.model.weights import Weights, official_path, resolve_weights

ROOT = Path(__file__).parents[4]
OFFICIAL, STARTER = b"the official checkpoint", b"the starter weights"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def resolve(spec: str, cache: Path) -> Weights:
    return resolve_weights(
        spec, cache, starter=cache / "starter.safetensors", official_sha256=sha256(OFFICIAL)[:8]
    )


def put_official(cache: Path, data: bytes = OFFICIAL) -> None:
    official_path(cache).parent.mkdir(parents=True)
    official_path(cache).write_bytes(data)


def put_starter(cache: Path) -> None:
    (cache / "starter.safetensors").write_bytes(STARTER)


@pytest.mark.parametrize(
    ("spec", "present", "name", "data"),
    [
        ("auto", {"official", "starter"}, "official", OFFICIAL),
        ("auto", {"official"}, "official", OFFICIAL),
        ("auto", {"starter"}, "starter", STARTER),
        ("official", {"official", "starter"}, "official", OFFICIAL),
        ("starter", {"official", "starter"}, "starter", STARTER),
    ],
)
def test_a_keyword_stands_for_its_file(tmp_path: Path, spec: str, present: set[str], name: str, data: bytes):
    if "official" in present:
        put_official(tmp_path)
    if "starter" in present:
        put_starter(tmp_path)

    weights = resolve(spec, tmp_path)

    assert weights.name == name
    assert weights.path is not None
    assert weights.path.read_bytes() == data
    assert weights.sha256 == sha256(data)


@pytest.mark.parametrize(
    ("spec", "present"), [("auto", None), ("official", "starter"), ("starter", "official")]
)
def test_the_error_for_missing_weights_names_the_remedies(tmp_path: Path, spec: str, present: str | None):
    if present == "official":
        put_official(tmp_path)
    if present == "starter":
        put_starter(tmp_path)

    with pytest.raises(WeightsUnavailable) as caught:
        resolve(spec, tmp_path)

    assert "`fathom model fetch`" in caught.value.message
    assert "path of a .pt or .safetensors file" in caught.value.message
    assert "FATHOM_WEIGHTS=random" in caught.value.message


@pytest.mark.parametrize("spec", ["auto", "official"])
def test_a_wrong_file_in_place_of_the_official_one_is_refused(tmp_path: Path, spec: str):
    put_official(tmp_path, b"half of the official chec")
    put_starter(tmp_path)

    with pytest.raises(WeightsInvalid, match=r"is not the official checkpoint.*fathom model fetch"):
        resolve(spec, tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_path_is_used_as_it_is(tmp_path: Path, suffix: str):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"weights")

    weights = resolve(str(path), tmp_path)

    assert weights == Weights(name=f"mine{suffix}", path=path, sha256=sha256(b"weights"))


def test_a_relative_path_is_found_again_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.pt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    weights = resolve("mine.pt", tmp_path)
    monkeypatch.chdir("/")

    assert resolve(weights.spec, tmp_path) == weights


def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pt").write_bytes(b"weights")

    assert resolve("~/mine.pt", tmp_path).path == tmp_path / "mine.pt"


def test_a_path_without_a_file_is_named_in_the_error(tmp_path: Path):
    with pytest.raises(WeightsUnavailable, match=r"/nowhere/at-all\.pt"):
        resolve("/nowhere/at-all.pt", tmp_path)


def test_a_directory_is_refused(tmp_path: Path):
    (tmp_path / "folder.pt").mkdir()

    with pytest.raises(WeightsUnavailable, match=r"folder\.pt"):
        resolve(str(tmp_path / "folder.pt"), tmp_path)


@pytest.mark.parametrize("spec", ["Official", "best", "weights.onnx", "model.onnx", "/etc/passwd", ".pt/"])
def test_anything_but_a_keyword_or_a_path_of_weights_is_refused(tmp_path: Path, spec: str):
    with pytest.raises(SettingsError, match="FATHOM_WEIGHTS must be auto, official, starter, random"):
        resolve(spec, tmp_path)


def test_random_weights_have_no_file_and_always_the_same_hash(tmp_path: Path):
    weights = resolve("random", tmp_path)

    assert (weights.name, weights.path) == ("random", None)
    assert weights.sha256 == "e3fdf2c77c1e1ecbf76aff0601788db0991b4313d53956070e51519075f8d6b0"
    assert resolve(weights.spec, tmp_path / "elsewhere") == weights


def test_resolving_weights_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from pathlib import Path; from worker.model.weights import resolve_weights;"
        "resolve_weights('random', Path()); print([n for n in ('torch', 'numpy', 'timm') if n in sys.modules])"
    )

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"
