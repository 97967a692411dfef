from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.fathom.commands.conftest import Fathom, codes, printed_json
from tests.unit.fathom.conftest import CR3, REFUSED, SKIPPED
from tests.unit.worker.pipeline.pictures import save, texture

#: The pipeline without the network.
SIMULATED = {"FATHOM_ENGINE": "simulated", "FATHOM_SIMULATE": "network"}


def test_photos_are_processed_and_the_rest_is_named(fathom: Fathom, album: Path, tmp_path: Path) -> None:
    (album / "a.jpg").write_bytes(save(texture(), "JPEG"))
    (album / "z.jpg").symlink_to("/proc/self/mem")
    result = fathom("run", album, album / "depth", "--json", env=SIMULATED)
    again = fathom("run", album, album / "depth", env=SIMULATED)

    failed = {**REFUSED, "x/b.jpg": "unsupported_format", "z.jpg": "unreadable"}
    assert (result.exit_code, printed_json(result)["state"], codes(printed_json(result))) == (
        3,
        "partial",
        failed,
    )
    assert printed_json(result)["counts"] == {"total": 5, "succeeded": 1, "failed": 4}
    assert [path.name for path in (album / "depth").iterdir()] == ["a.png"]
    # Results are not photos of the second run.
    assert (again.exit_code, SKIPPED in again.stderr, "partial: 1 of 5 images" in again.stderr) == (
        3,
        True,
        True,
    )


def test_raw_files_alone_start_no_process(fathom: Fathom, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.CR3").write_bytes(CR3)
    result = fathom("run", tmp_path / "in", tmp_path / "out", env={"FATHOM_WEIGHTS": "/nowhere.pt"})

    assert result.exit_code == 1
    assert "failed: a.CR3  [unsupported_format] This is a camera's raw file (Canon CR3)" in result.stderr


@pytest.mark.parametrize("name", ["clip.MOV", "a.xmp", "Thumbs.db"])
def test_a_folder_without_photos_is_wrong_usage(fathom: Fathom, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).touch()
    result = fathom("run", tmp_path / "in", tmp_path / "out")

    assert (result.exit_code, "There is no photo in" in result.stderr) == (2, True)
    assert ("Skipped 1 file" in result.stderr) is (name != "Thumbs.db")


@pytest.mark.parametrize("out", ["", ".", "x/.."])
def test_one_folder_for_photos_and_results_is_refused(fathom: Fathom, album: Path, out: str) -> None:
    before = sorted(album.rglob("*"))
    result = fathom("run", album, album / out)

    assert result.exit_code == 2
    assert "OUT must be another folder than" in " ".join(result.stderr.split())
    assert sorted(album.rglob("*")) == before


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_names_of_any_script_survive_a_locale_that_has_none(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Python reads the locale only when it starts, so this needs a process."""
    photos = tmp_path / "写真"
    photos.mkdir()
    (photos / "海 🌊.png").write_bytes(save(texture(), "PNG"))
    (photos / "悪い.jpg").write_bytes(b"text")
    (photos / "生.CR3").write_bytes(CR3)
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [
        sys.executable,
        "-m",
        "fathom.cli",
        "run",
        "--jobs=1",
        *flags,
        str(photos),
        str(tmp_path / "深さ"),
    ]
    done = subprocess.run(command, env={**os.environ, **SIMULATED, **ascii_only}, capture_output=True)

    assert done.returncode == 3, done.stderr
    assert [path.name for path in (tmp_path / "深さ").iterdir()] == ["海 🌊.png"]
    if flags:
        answer = json.loads(done.stdout)
        assert codes(answer) == {"悪い.jpg": "unsupported_format", "生.CR3": "unsupported_format"}
        assert answer["out"] == str(tmp_path / "深さ")
