"""Run the examples of docs/api.md one after another against a real stack."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.stacks import ROOT, LaunchedStack
from tests.conftest import skip_or_fail

DOCUMENT = ROOT / "docs" / "api.md"


@pytest.fixture(scope="module")
def folder(stack: LaunchedStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the examples ran, with their files."""
    if shutil.which("curl") is None:
        skip_or_fail("The examples need curl.")
    folder = tmp_path_factory.mktemp("document")
    (folder / "samples").symlink_to(ROOT / "samples")
    examples = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) >= 7
    script = f"set -eu\nAPI={stack.api}\n" + "\n".join(examples)
    ran = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder / "stdout.txt").write_text(ran.stdout)
    return folder


def photo_size(name: str) -> tuple[int, int]:
    with Image.open(ROOT / "samples" / name) as photo:
        return photo.size


def test_one_photo_is_answered_with_its_depth(folder: Path) -> None:
    with Image.open(folder / "heatmap.png") as heatmap:
        assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "P", photo_size("rocket.jpg"))
        colours = heatmap.convert("RGB").getcolors(1000)
    with Image.open(folder / "depth16.png") as depth:
        assert depth.size == photo_size("clock.jpg")
        assert depth.getextrema() == (0, 65535)

    assert colours is not None
    assert len(colours) > 50


def test_nothing_of_the_single_photo_is_left(folder: Path, stack: LaunchedStack) -> None:
    with stack.jobs() as jobs:
        assert not any(job.urgent for job in jobs.list(limit=100).items)


def test_the_job_was_processed_with_its_options(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    images = json.loads((folder / "images.json").read_text())["images"]

    assert (job["state"], job["title"], job["counts"]["succeeded"]) == ("succeeded", "A walk", 2)
    assert [image["name"] for image in images] == ["rocket.jpg", "trip/clock.jpg"]
    assert [set(image["outputs"]) for image in images] == [{"heatmap", "depth16", "depth"}] * 2


def test_a_job_that_has_not_changed_is_answered_304(folder: Path) -> None:
    assert "304" in (folder / "stdout.txt").read_text().split()


def test_the_stream_of_an_ended_job_shows_it_and_ends(folder: Path) -> None:
    assert '"state":"succeeded"' in (folder / "events.txt").read_text()


def test_the_results_have_the_formats_of_their_names(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO((folder / "walk.zip").read_bytes())) as archive:
        assert archive.namelist() == ["rocket.png", "trip/clock.png"]
        assert archive.read("rocket.png") == (folder / "rocket.png").read_bytes()
    assert json.loads((folder / "rocket.json").read_text())["kind"] == "relative_inverse_depth"


def test_the_announced_job_was_started(folder: Path) -> None:
    assert json.loads((folder / "started.json").read_text())["title"] == "One by one"
