"""Process folders with real processes: names, failures, crashes, and a common range."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fathom.options import Options
from shared.errors import RequestError, WeightsUnavailable
from shared.jobs.job import Phase
from shared.settings import Settings
from tests.fakes_engine import (
    load_crashing_engine,
    load_engine_on_a_full_disk,
    load_luminance_engine,
    load_nothing,
)
from tests.unit.worker.pipeline.pictures import save, save_turned, scene, texture
from worker.local.run_folder import FolderProgress, FolderSummary, run_folder

SETTINGS = Settings.from_environ({})

#: The picture that kills the process of `load_crashing_engine`.
DEADLY = np.full((64, 64, 3), 255, np.uint8)


def run(source: Path, out: Path, **given: Any) -> FolderSummary:
    load = given.pop("load", load_luminance_engine)
    options = Options.parse(given.pop("options", {}))
    return run_folder(source, out, options, SETTINGS, load=load, **given)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def album(tmp_path: Path) -> Path:
    album = tmp_path / "in"
    photo = save(texture(), "JPEG")
    put(album / "a.JPG", photo)
    put(album / "2024" / "夏休み" / "海 🌊.jpeg", photo)
    put(album / "2024" / "a.jpg", save(texture(), "PNG"))
    put(album / "2025" / "a.jpg", save_turned(scene(), "JPEG", 6))
    put(album / "same.png", save(texture(), "PNG"))
    put(album / "same.jpg", photo)
    put(album / "no suffix", photo)
    put(album / "notes.txt", b"not a photo, and not taken for one")
    put(album / ".hidden.jpg", photo)
    put(album / "bad" / "text.jpg", b"This is a text.")
    put(album / "bad" / "empty.png", b"")
    put(album / "bad" / "half.jpg", photo[: len(photo) // 2])
    put(album / "bad" / "tiny.gif", save(texture(8, 8), "GIF"))
    return album


def test_a_folder_gives_a_heatmap_or_a_reason_for_every_file_and_counts_them(
    album: Path, tmp_path: Path
) -> None:
    seen: list[FolderProgress] = []
    summary = run(album, tmp_path / "out", sidecars=False, on_progress=seen.append, jobs=2)

    assert tree(tmp_path / "out") == [
        "2024/a.png",
        "2024/夏休み/海 🌊.png",
        "2025/a.png",
        "a.png",
        "no suffix.png",
        "same.png",
        "same.png.png",
    ]
    assert (summary.total, summary.succeeded, summary.weights) == (11, 7, "luminance")
    assert {failure.name: failure.code for failure in summary.failures} == {
        "bad/empty.png": "image_empty",
        "bad/half.jpg": "image_corrupt",
        "bad/text.jpg": "unsupported_format",
        "bad/tiny.gif": "image_too_small",
    }
    assert all(failure.message.endswith(".") for failure in summary.failures)
    with Image.open(tmp_path / "out" / "2025" / "a.png") as turned:
        assert turned.size == (128, 96)
    assert [progress.done for progress in seen] == list(range(1, 12))
    assert seen[-1] == FolderProgress(phase=Phase.RENDER, done=11, total=11, failed=4)


def test_results_among_the_photos_are_not_photos(album: Path) -> None:
    first = run(album, album / "depth", jobs=1)
    second = run(album, album / "depth", jobs=1)

    assert first.total == second.total == 11
    assert len([name for name in tree(album / "depth") if name.endswith(".depth.json")]) == 7


def test_no_result_overwrites_a_photo(tmp_path: Path) -> None:
    put(tmp_path / "a.png", save(texture(), "PNG"))
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(RequestError, match=r"a\.png"):
        run(tmp_path, tmp_path)

    assert (tmp_path / "a.png").read_bytes() == before


def test_a_single_file_is_processed_and_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.bin", save(texture(), "PNG"))
    (tmp_path / "empty").mkdir()

    assert run(tmp_path / "in" / "a.bin", tmp_path / "out").succeeded == 1
    assert run(tmp_path / "empty", tmp_path / "out").total == 0


def test_a_run_normalised_as_a_whole_uses_one_range(tmp_path: Path) -> None:
    for level in (60, 150, 250):
        picture = texture()
        picture[:48] = level
        put(tmp_path / "in" / f"{level}.png", save(picture, "PNG"))
    put(tmp_path / "in" / "bad.png", b"\x89PNG\r\n\x1a\n")
    seen: list[FolderProgress] = []
    summary = run(
        tmp_path / "in", tmp_path / "out", options={"normalize": "job"}, on_progress=seen.append, jobs=2
    )
    facts = [json.loads((tmp_path / "out" / f"{level}.depth.json").read_bytes()) for level in (60, 150, 250)]

    assert summary.succeeded == 3
    assert facts[0]["range"] == facts[1]["range"] == facts[2]["range"]
    assert facts[0]["range"]["low"] == min(f["min"] for f in facts)
    assert facts[0]["range"]["high"] == max(f["max"] for f in facts)
    assert [(p.phase, p.done) for p in seen] == [(Phase.MEASURE, n) for n in (1, 2, 3, 4)] + [
        (Phase.RENDER, n) for n in (2, 3, 4)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_photo_that_kills_its_process_fails_alone(tmp_path: Path, jobs: int) -> None:
    for number in range(8):
        put(tmp_path / "in" / f"{number}.png", save(DEADLY if number == 3 else texture(), "PNG"))
    summary = run(tmp_path / "in", tmp_path / "out", load=load_crashing_engine, jobs=jobs, sidecars=False)

    assert [(failure.name, failure.code) for failure in summary.failures] == [("3.png", "worker_crashed")]
    assert tree(tmp_path / "out") == [f"{number}.png" for number in range(8) if number != 3]


def test_a_missing_network_fails_the_run_and_not_each_photo(album: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable):
        run(album, tmp_path / "out", load=load_nothing, jobs=1)


def deep_folder(folder: Path) -> Path:
    """Return a folder whose path has 3,950 bytes, close to the limit of 4,096."""
    while (room := 3950 - len(os.fsencode(folder))) > 250:
        folder /= "d" * min(200, room // 2)
    return folder / ("d" * (room - 1))


def test_a_result_that_cannot_be_written_fails_alone_in_every_run(tmp_path: Path) -> None:
    out = deep_folder(tmp_path)
    photo = save(texture(), "PNG")
    for name in ("a.png", "b.png", "c/c.png", "d" * 190 + "/d.png", "e/e.png", "z.png"):
        put(tmp_path / "in" / name, photo)
    (out / "b.png" / "in the way").mkdir(parents=True)
    put(out / "c", b"a file in the way of a folder")
    (out / "e").symlink_to(out / "e")

    for _ in range(2):
        summary = run(tmp_path / "in", out, sidecars=False, jobs=1)

        assert [(failure.name, failure.code) for failure in summary.failures] == [
            ("b.png", "cannot_write"),
            ("c/c.png", "cannot_write"),
            ("d" * 190 + "/d.png", "cannot_write"),
            ("e/e.png", "cannot_write"),
        ]
        assert tree(out) == ["a.png", "c", "z.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no device that is always full.")
def test_on_a_full_disk_only_photos_without_room_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "full.png", "z.png"):
        put(tmp_path / "in" / name, save(texture(), "PNG"))
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("FATHOM_TEST_OUT", str(tmp_path / "out"))
    summary = run(tmp_path / "in", tmp_path / "out", sidecars=False, jobs=1, load=load_engine_on_a_full_disk)

    assert [(failure.name, failure.code) for failure in summary.failures] == [("full.png", "storage_full")]
    assert "No space left" in summary.failures[0].message
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]


def test_a_result_and_a_folder_of_results_never_share_a_name(tmp_path: Path) -> None:
    photo = save(texture(), "PNG")
    put(tmp_path / "in" / "x.jpg", photo)
    put(tmp_path / "in" / "x.png" / "a.jpg", photo)
    summary = run(tmp_path / "in", tmp_path / "out", sidecars=False, jobs=1)

    assert summary.failures == ()
    assert tree(tmp_path / "out") == ["x.jpg.png", "x.png/a.png"]
