from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from fathom.commands.watch import FolderWatch, NotNow, RoundPrinter
from fathom.files import Album
from fathom.mirror.report import MirrorReport
from fathom.models import ImageResult
from fathom.progress import Display
from tests.unit.fathom.commands.conftest import Fathom


class Over(Exception):
    """The test has seen enough."""


@dataclass
class WatchedFolder:
    """A watched folder; whenever the watch sleeps, the next change happens."""

    folder: Path
    #: When files were last changed, in seconds since the epoch.
    clock: int = 1000
    events: list[Callable[[], None]] = field(default_factory=list)
    taken: list[list[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes = b"photo") -> None:
        path = self.folder / name
        path.write_bytes(data)
        os.utime(path, (self.clock, self.clock))

    def take(self, album: Album) -> None:
        if self.refusals:
            raise NotNow(self.refusals.pop(0))
        self.taken.append([file.name for file in album.files] + [photo.name for photo in album.refused])

    def sleep(self, seconds: float) -> None:
        if not self.events:
            raise Over
        self.events.pop(0)()

    def watch(self, *, once: bool = False) -> None:
        FolderWatch(
            folder=self.folder,
            out=self.folder / "depth",
            take=self.take,
            say=self.said.append,
            sleep=self.sleep,
        ).run(once=once)


@pytest.fixture
def watched(tmp_path: Path) -> WatchedFolder:
    return WatchedFolder(folder=tmp_path)


def nothing() -> None:
    """Nothing happens."""


def test_existing_and_new_photos_are_submitted(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.events = [nothing, lambda: watched.add("b.jpg"), nothing, nothing]

    with pytest.raises(Over):
        watched.watch()

    assert watched.taken == [["a.jpg"], ["a.jpg", "b.jpg"]]


@pytest.mark.parametrize("once", [True, False])
def test_a_growing_file_is_left_until_it_stops_changing_whatever_its_mtime(
    watched: WatchedFolder, once: bool
) -> None:
    watched.add("a.jpg", b"p")
    watched.events = [lambda: watched.add("a.jpg", b"ph"), lambda: watched.add("a.jpg", b"pho"), nothing]
    watched.events += [] if once else [nothing]
    with contextlib.suppress(Over):
        watched.watch(once=once)

    assert watched.taken == [["a.jpg"]]
    assert watched.events == []


def test_a_file_that_is_rewritten_at_the_same_size_is_left_too(watched: WatchedFolder) -> None:
    def rewrite() -> None:
        watched.clock += 1
        watched.add("a.jpg")

    watched.events = [rewrite, rewrite, rewrite]
    with pytest.raises(Over):
        watched.watch()

    assert watched.taken == []


def test_unreadable_files_are_submitted_with_the_rest(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.add("b.CR3")
    (watched.folder / "c.jpg").symlink_to("nowhere")
    watched.add("d.mov")
    watched.events = [nothing]

    watched.watch(once=True)

    assert watched.taken == [["a.jpg", "b.CR3", "c.jpg"]]
    assert watched.said == ["Skipped 1 file that is no photo: 1 video."]


def test_a_changed_photo_is_submitted_again(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.events = [nothing, lambda: watched.add("a.jpg", b"another"), nothing]

    with pytest.raises(Over):
        watched.watch()

    assert watched.taken == [["a.jpg"], ["a.jpg"]]


def test_results_and_removed_photos_cause_no_work(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.add("b.jpg")
    (watched.folder / "depth").mkdir()
    watched.events = [nothing, lambda: watched.add("depth/a.png"), (watched.folder / "b.jpg").unlink, nothing]

    with pytest.raises(Over):
        watched.watch()

    assert watched.taken == [["a.jpg", "b.jpg"]]


def test_an_outage_of_the_server_is_reported_once_and_waited_for(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.refusals = ["Cannot reach it."] * 3
    watched.events = [nothing] * 5

    with pytest.raises(Over):
        watched.watch()

    assert watched.said == ["Cannot reach it. Trying again until it goes."]
    assert watched.taken == [["a.jpg"]]


def test_a_temporarily_missing_folder_is_waited_for(tmp_path: Path) -> None:
    watched = WatchedFolder(folder=tmp_path / "mount")
    watched.events = [nothing, watched.folder.mkdir, lambda: watched.add("a.jpg"), nothing, nothing]

    with pytest.raises(Over):
        watched.watch()

    assert len(watched.said) == 1
    assert watched.said[0].startswith(f"Cannot read {watched.folder}: No such file")
    assert watched.taken == [["a.jpg"]]


def test_once_submits_the_existing_photos_and_ends(watched: WatchedFolder) -> None:
    watched.add("a.jpg")
    watched.add("b.jpg")
    watched.events = [nothing]

    watched.watch(once=True)

    assert watched.taken == [["a.jpg", "b.jpg"]]


def test_once_over_an_empty_folder_ends(watched: WatchedFolder) -> None:
    watched.watch(once=True)

    assert watched.taken == []


def test_a_permanent_error_ends_the_watch(watched: WatchedFolder) -> None:
    watched.add("a.jpg")

    def refuse(album: Album) -> None:
        raise PermissionError

    watch = FolderWatch(
        folder=watched.folder,
        out=watched.folder / "depth",
        take=refuse,
        say=watched.said.append,
        sleep=lambda seconds: None,
    )

    with pytest.raises(PermissionError):
        watch.run(once=False)


# --- reports ----------------------------------------------------------------------


def unread(name: str) -> ImageResult:
    return ImageResult.failure(name, "unreadable", "It cannot be read.")


def round_of(*failures: ImageResult, fetched: int = 0, kept: int = 0) -> MirrorReport:
    total = fetched + kept + len(failures)
    return MirrorReport(total=total, fetched=fetched, kept=kept, new_failures=list(failures))


def run_report(*reports: MirrorReport, as_json: bool) -> tuple[list[str], str]:
    """Return the lines about each round, and the final state."""
    written = io.StringIO()
    printer = RoundPrinter(Display(Console(file=written), quiet=False), as_json=as_json)
    with contextlib.redirect_stdout(io.TextIOWrapper(raw := io.BytesIO(), write_through=True)):
        for report in reports:
            printer.print(report)
        lines = raw.getvalue().decode() if as_json else written.getvalue()
    return lines.splitlines(), printer.state


def test_an_unreadable_file_is_reported_once() -> None:
    again = round_of(unread("a.jpg"), kept=1)
    lines, state = run_report(round_of(unread("a.jpg"), fetched=1), again, again, as_json=False)

    assert [line for line in lines if "a.jpg" in line] == ["failed: a.jpg  [unreadable] It cannot be read."]
    assert len(lines) == 2
    assert state == "partial"


def test_json_reports_only_news() -> None:
    lines, state = run_report(
        round_of(unread("a.jpg")),
        round_of(unread("a.jpg")),
        round_of(unread("a.jpg"), unread("b.jpg")),
        as_json=True,
    )

    assert [[failure["name"] for failure in json.loads(line)["failures"]] for line in lines] == [
        ["a.jpg"],
        ["b.jpg"],
    ]
    assert state == "failed"


def test_a_photo_that_fails_again_after_a_change_is_reported_again() -> None:
    bad = ImageResult.failure("a.jpg", "image_corrupt", "It is damaged.", index=0)
    lines, _ = run_report(round_of(bad), round_of(bad), as_json=True)

    assert len(lines) == 2


def test_once_has_the_exit_code_of_submit(fathom: Fathom, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = fathom("watch", tmp_path / "empty", "--out", tmp_path / "out", "--once")

    assert done.exit_code == 0
