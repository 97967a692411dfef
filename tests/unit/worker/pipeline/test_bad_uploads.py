"""Every bad upload of the corpus ends with its code, needs little memory, and leaves no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import FINE, bad_uploads

ROOT = Path(__file__).resolve().parents[4]
#: Megabytes that a bad file may take beyond a small harmless one. The largest valid picture among them has
#: 4 megapixels: a few copies of 12 MB as RGB.
MOST = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def outcomes_by_name(folder: Path) -> dict[str, dict[str, Any]]:
    """The outcome of every upload by name, each in its own process with limited memory."""
    if not sys.platform.startswith("linux"):
        pytest.skip("The memory of a process is measured on Linux only.")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.corpus.run_pipeline"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    rows = map(json.loads, ended.stdout.splitlines())
    return {row["name"]: row for row in rows}


def test_the_corpus_is_large_and_most_of_it_is_bad() -> None:
    uploads = bad_uploads()

    assert len(uploads) >= 120
    assert sum(upload.expected != FINE for upload in uploads) >= 90


def test_every_bad_upload_ends_with_its_code(outcomes_by_name: dict[str, dict[str, Any]]) -> None:
    outcomes = {name: row["outcome"] for name, row in outcomes_by_name.items()}

    assert outcomes == {upload.name: upload.expected for upload in bad_uploads()}


def test_no_bad_upload_takes_much_memory(outcomes_by_name: dict[str, dict[str, Any]]) -> None:
    taken = {name: row["extra_bytes"] / 2**20 for name, row in outcomes_by_name.items()}

    assert {name: megabytes for name, megabytes in taken.items() if megabytes > MOST} == {}


def test_no_bad_upload_leaves_a_file_behind(
    outcomes_by_name: dict[str, dict[str, Any]], folder: Path
) -> None:
    assert [path for path in folder.rglob("*") if "__pycache__" not in str(path)] == []
