from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from client.commands.watch import NotNow, Watch
from client.models import UploadFile

SECOND = 10**9


class Over(Exception):
    """The test has seen enough."""


@dataclass
class Scene:
    """A watched folder, and a clock that moves while the watch sleeps; then the next thing happens."""

    folder: Path
    clock: int = 1000 * SECOND
    events: list[Callable[[], None]] = field(default_factory=list)
    taken: list[list[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes = b"photo", *, age: float = 100.0) -> None:
        path = self.folder / name
        path.write_bytes(data)
        moment = self.clock - round(age * SECOND)
        os.utime(path, ns=(moment, moment))

    def take(self, files: Sequence[UploadFile]) -> None:
        if self.refusals:
            raise NotNow(self.refusals.pop(0))
        self.taken.append([file.name for file in files])

    def sleep(self, seconds: float) -> None:
        self.clock += round(seconds * SECOND)
        if not self.events:
            raise Over
        self.events.pop(0)()

    def watch(self, *, once: bool = False) -> None:
        Watch(
            folder=self.folder,
            out=self.folder / "depth",
            take=self.take,
            say=self.said.append,
            sleep=self.sleep,
            now=lambda: self.clock,
        ).keep(once=once)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(folder=tmp_path)


def nothing() -> None:
    """Nothing happens."""


def test_what_is_there_and_what_comes_is_taken(scene: Scene) -> None:
    scene.add("a.jpg")
    scene.events = [nothing, lambda: scene.add("b.jpg"), nothing, nothing]

    with pytest.raises(Over):
        scene.watch()

    assert scene.taken == [["a.jpg"], ["a.jpg", "b.jpg"]]


def test_a_file_that_is_being_written_is_left_until_it_keeps_still(scene: Scene) -> None:
    scene.events = [
        lambda: scene.add("a.jpg", b"p", age=0),
        lambda: scene.add("a.jpg", b"ph", age=0),
        lambda: scene.add("a.jpg", b"pho", age=0),
        nothing,
        nothing,
    ]

    with pytest.raises(Over):
        scene.watch()

    assert scene.taken == [["a.jpg"]]


def test_a_photo_that_changed_is_taken_again(scene: Scene) -> None:
    scene.add("a.jpg")
    scene.events = [lambda: scene.add("a.jpg", b"another"), nothing]

    with pytest.raises(Over):
        scene.watch()

    assert scene.taken == [["a.jpg"], ["a.jpg"]]


def test_results_and_photos_that_went_make_no_work(scene: Scene) -> None:
    scene.add("a.jpg")
    scene.add("b.jpg")
    (scene.folder / "depth").mkdir()
    scene.events = [lambda: scene.add("depth/a.png"), (scene.folder / "b.jpg").unlink, nothing]

    with pytest.raises(Over):
        scene.watch()

    assert scene.taken == [["a.jpg", "b.jpg"]]


def test_a_server_that_is_away_is_told_of_once_and_waited_for(scene: Scene) -> None:
    scene.add("a.jpg")
    scene.refusals = ["Cannot reach it."] * 3
    scene.events = [nothing] * 4

    with pytest.raises(Over):
        scene.watch()

    assert scene.said == ["Cannot reach it. Trying again until it goes."]
    assert scene.taken == [["a.jpg"]]


def test_a_folder_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    scene = Scene(folder=tmp_path / "mount")
    scene.events = [nothing, scene.folder.mkdir, lambda: scene.add("a.jpg"), nothing]

    with pytest.raises(Over):
        scene.watch()

    assert len(scene.said) == 1
    assert "No such file" in scene.said[0]
    assert scene.taken == [["a.jpg"]]


def test_once_takes_all_that_is_there_and_ends(scene: Scene) -> None:
    scene.add("a.jpg")
    scene.add("b.jpg", age=0)

    scene.watch(once=True)

    assert scene.taken == [["a.jpg", "b.jpg"]]


def test_once_over_an_empty_folder_ends(scene: Scene) -> None:
    scene.watch(once=True)

    assert scene.taken == []


def test_what_does_not_mend_itself_ends_the_watch(scene: Scene) -> None:
    scene.add("a.jpg")

    def refuse(files: Sequence[UploadFile]) -> None:
        raise PermissionError

    watch = Watch(folder=scene.folder, out=scene.folder / "depth", take=refuse, say=scene.said.append)

    with pytest.raises(PermissionError):
        watch.keep(once=False)
