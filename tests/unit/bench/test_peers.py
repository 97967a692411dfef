"""What `bench.peers` accepts as a heatmap, and what it makes of what it measures."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.peers.__main__ import main
from bench.peers.albums import PHOTOS, Albums
from bench.peers.comparison import Cell, Comparison, Plan
from bench.peers.expert_photo import draw_heatmap
from bench.peers.folder_program import FolderProgram
from bench.peers.judge import Expected, WrongHeatmap, judge, read_levels
from bench.peers.measure import PeerFailed, run_album
from bench.peers.peer import Depth, Peer, Setup, Started
from bench.peers.report import times_faster, to_json, to_markdown
from bench.peers.rows import ROWS
from shared.settings import Settings

SIZE = (480, 640)


@pytest.fixture
def depth() -> NDArray[np.float32]:
    """A floor that comes nearer, and a ball on its left."""
    depth = np.repeat(np.linspace(0, 1, 24, dtype=np.float32)[:, np.newaxis], 32, axis=1)
    cv2.circle(depth, (8, 10), 5, 0.9, -1)
    return depth


@pytest.fixture
def heatmap(depth: NDArray[np.float32]) -> bytes:
    return draw_heatmap(depth, SIZE)


def judge_one(folder: Path, heatmap: bytes, expected: bytes, *, other_network: bool = False) -> float | None:
    (folder / "1-0000.jpg").write_bytes(heatmap)
    levels = None if other_network else read_levels(expected)
    return judge(folder, {"1-0000.jpg": Expected(height=SIZE[0], width=SIZE[1], levels=levels)})


def jpeg(bgr: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", bgr)[1])


def test_the_levels_of_a_heatmap_are_those_it_was_coloured_from(
    depth: NDArray[np.float32], heatmap: bytes
) -> None:
    levels = read_levels(heatmap)
    expected = cv2.resize(depth, levels.shape[::-1], interpolation=cv2.INTER_LINEAR) * 255

    assert np.abs(levels - expected).mean() < 5


def test_the_same_depth_drawn_a_little_differently_is_accepted(
    tmp_path: Path, depth: NDArray[np.float32], heatmap: bytes
) -> None:
    off = judge_one(tmp_path, draw_heatmap(depth + np.float32(0.01) * depth[::-1], SIZE), heatmap)

    assert off is not None
    assert 0 < off < 4


def upside_down(depth: NDArray[np.float32]) -> bytes:
    return draw_heatmap(depth[::-1], SIZE)


def blank(depth: NDArray[np.float32]) -> bytes:
    return draw_heatmap(np.zeros_like(depth), SIZE)


def too_small(depth: NDArray[np.float32]) -> bytes:
    return draw_heatmap(depth, (240, 320))


def grey(depth: NDArray[np.float32]) -> bytes:
    return jpeg((cv2.resize(depth, SIZE[::-1]) * 255).astype(np.uint8))


def magma(depth: NDArray[np.float32]) -> bytes:
    grey = (cv2.resize(depth, SIZE[::-1]) * 255).astype(np.uint8)
    return jpeg(np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), np.uint8))


@pytest.mark.parametrize(
    ("draw", "complaint"),
    [
        (upside_down, "differs from Fathom's by"),
        (blank, "spans 0 levels"),
        (too_small, "320 x 240 pixels, not 640 x 480"),
        (grey, "not Inferno's"),
        (magma, "not Inferno's"),
        (lambda depth: b"JPEG", "no JPEG"),
    ],
)
def test_what_is_no_heatmap_of_the_photo_is_found_out(
    tmp_path: Path, depth: NDArray[np.float32], heatmap: bytes, draw: Any, complaint: str
) -> None:
    with pytest.raises(WrongHeatmap, match=complaint):
        judge_one(tmp_path, draw(depth), heatmap)


def test_a_heatmap_that_is_missing_is_found_out(tmp_path: Path, heatmap: bytes) -> None:
    expected = {"1-0001.jpg": Expected(height=SIZE[0], width=SIZE[1], levels=None)}

    with pytest.raises(WrongHeatmap, match=r"1-0001\.jpg: it is missing"):
        judge(tmp_path, expected)


def test_another_network_is_held_to_size_and_colours_alone(
    tmp_path: Path, depth: NDArray[np.float32], heatmap: bytes
) -> None:
    assert judge_one(tmp_path, upside_down(depth), heatmap, other_network=True) is None
    with pytest.raises(WrongHeatmap, match="not Inferno's"):
        judge_one(tmp_path, grey(depth), heatmap, other_network=True)


def test_photos_repeat_their_pixels_but_no_file_is_like_another(tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted(Albums(tmp_path).make("vga", PHOTOS + 1).iterdir())]
    first, again = (np.asarray(Image.open(io.BytesIO(data))) for data in (files[0], files[PHOTOS]))

    assert len(set(files)) == PHOTOS + 1
    assert np.array_equal(first, again)


def test_small_photos_come_first_in_an_album(tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted(Albums(tmp_path).make("3mp", 1, small_first=2).iterdir())]

    assert [Image.open(io.BytesIO(data)).size for data in files] == [(640, 480), (480, 640), (2048, 1536)]


#: Passes the photos off as heatmaps, the first after 100 seconds and the others after 1, 2 and 2 more.
COPY = """
import os, shutil, sys, time
from pathlib import Path
began = time.time()
shutil.copytree(*sys.argv[1:])
for path, later in zip(sorted(Path(sys.argv[2]).iterdir()), (100, 101, 103, 105)):
    os.utime(path, (0, began + later))
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copying(Peer):
    """A peer that does nothing."""

    name: str = "copying"
    title: str = "copies"
    depth: Depth = Depth.OTHER

    @contextmanager
    def start(self, setup: Setup) -> Iterator[Started]:
        yield Started(command=lambda photos, out: [sys.executable, "-c", COPY, str(photos), str(out)])


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned and read from /proc")


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    cores = (max(os.sched_getaffinity(0)),)
    return Setup(cores=cores, model=tmp_path / "none", scratch=tmp_path / "scratch")


@ON_LINUX
def test_the_times_of_results_are_those_of_their_files(tmp_path: Path, setup: Setup) -> None:
    album = Albums(tmp_path).make("vga", 4)
    with Copying().start(setup) as started:
        run = run_album(started, album, tmp_path / "out", setup.cores)

    assert run.first >= 100
    assert run.pace == pytest.approx(2.0)


@ON_LINUX
@pytest.mark.parametrize(
    ("program", "complaint"), [("pass", "wrote 0 heatmaps"), ("raise SystemExit('no')", "failed: no")]
)
def test_a_command_that_fails_or_leaves_photos_out_is_named(
    tmp_path: Path, setup: Setup, program: str, complaint: str
) -> None:
    started = Started(command=lambda photos, out: [sys.executable, "-c", program])

    with pytest.raises(PeerFailed, match=complaint):
        run_album(started, Albums(tmp_path).make("vga", 1), tmp_path / "out", setup.cores)


@ON_LINUX
def test_a_command_runs_on_the_cores_it_is_given_alone(tmp_path: Path, setup: Setup) -> None:
    before = os.sched_getaffinity(0)
    program = "import os, sys; sys.exit(f'cores {os.sched_getaffinity(0)}')"
    started = Started(command=lambda photos, out: [sys.executable, "-c", program])

    with pytest.raises(PeerFailed, match=rf"cores \{{{setup.cores[0]}\}}"):
        run_album(started, Albums(tmp_path).make("vga", 1), tmp_path / "out", setup.cores)
    assert os.sched_getaffinity(0) == before


@ON_LINUX
def test_a_peer_that_is_not_installed_and_one_that_does_nothing_are_named(
    tmp_path: Path, setup: Setup
) -> None:
    absent = FolderProgram(name="absent", title="absent", module="absent", packages=("no_such_package",))
    plan = Plan(rows=[absent, Copying()], size_classes=["vga"], core_sets=[setup.cores], seconds=1, photos=1)
    settings = Settings.from_environ({"FATHOM_ENGINE": "simulated", "FATHOM_SIMULATE": "network"})
    comparison = Comparison(plan, tmp_path, model=tmp_path / "none", settings=settings, say=print)
    comparison.run()

    assert comparison.cells == []
    assert comparison.missing["absent"] == "not installed: no_such_package"
    assert "its colours are not Inferno's" in comparison.missing["copying on 1 cores"]


def cell(name: str, **changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "row": next(row for row in ROWS if row.name == name),
        "size_class": "vga",
        "cores": 1,
        "photos": 60,
        "wall_ms": 80.0,
        "cpu_ms": 79.0,
        "start_up_s": 1.5,
        "first_result_s": 1.6,
        "peak_mb": 300.4,
        "off_by": 0.52,
    }
    return Cell(**fields | changes)


def test_fathom_is_compared_on_the_same_photos_and_cores() -> None:
    cells = [
        cell("expert"),
        cell("fathom-f32", wall_ms=10.0, size_class="3mp"),
        cell("fathom-f32", wall_ms=20.0, cores=2),
        cell("fathom-f32", wall_ms=40.0),
        cell("fathom-bf16", wall_ms=5.0),
    ]

    assert times_faster(cells[0], cells) == pytest.approx(2.0)
    assert times_faster(cells[3], cells) is None


def test_too_few_photos_give_no_ratio() -> None:
    cells = [cell("expert"), cell("fathom-f32", wall_ms=-3.0)]

    assert times_faster(cells[0], cells) is None
    assert "| too fast |" in to_markdown(cells, {})


def test_every_group_of_photos_and_cores_has_its_table() -> None:
    cells = [cell("expert"), cell("expert", cores=2), cell("fathom-f32", wall_ms=40.0)]
    text = to_markdown(cells, {"litserve": "not installed: litserve"})

    assert text.count("### vga") == 2
    assert (
        "| an expert's script: ONNX Runtime, a process a core | 80.0 | 79.0 | 12.50 | 1.50 | 1.60 "
        "| 300 | 0.52 | 2.00 |" in text
    )
    assert text.endswith("- litserve: not installed: litserve")


def test_the_report_names_rows_and_rounds_numbers() -> None:
    report = to_json([cell("expert", wall_ms=80.12345), cell("fathom-f32", wall_ms=40.0)], {}, 12.3)

    assert report["seconds"] == 12
    assert report["cells"][0]["row"] == "expert"
    assert report["cells"][0]["wall_ms"] == 80.123
    assert report["cells"][0]["fathom_times_faster"] == 2.003


@pytest.mark.parametrize("arguments", [["--only", "expert,magic"], ["--sizes", "4k"], ["--cores", "two"]])
def test_unknown_names_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert "is not one of" in capsys.readouterr().err
