"""Files are written completely or not at all, and errors name the reason."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fathom.errors import ClientError, ConnectionLost
from fathom.files import NotWritten, atomic_file, below, extract_all, file_size, inside

#: Makes a path below a folder that cannot be written, and returns it.
Obstacle = Callable[[Path], Path]


def folder_in_the_way(root: Path) -> Path:
    (root / "a.png" / "in the way").mkdir(parents=True)
    return root / "a.png"


def file_in_the_way(root: Path) -> Path:
    (root / "a").write_bytes(b"in the way")
    return root / "a" / "b" / "c.png"


def too_long_a_name(root: Path) -> Path:
    return root / ("深" * 100 + ".png")


def too_long_a_path(root: Path) -> Path:
    return root.joinpath(*["d" * 200] * 25, "a.png")


def links_in_a_circle(root: Path) -> Path:
    (root / "a").symlink_to(root / "a")
    return root / "a" / "b.png"


OBSTACLES = [folder_in_the_way, file_in_the_way, too_long_a_name, too_long_a_path, links_in_a_circle]


def write(path: Path, *, error: Exception | None = None) -> None:
    """Write a file, possibly with an error in the middle."""
    with atomic_file(path) as file:
        file.write(b"data")
        if error is not None:
            raise error


def temporary_files(root: Path) -> list[Path]:
    return list(root.rglob("*.part"))


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_failed_write_raises_and_leaves_nothing(obstacle: Obstacle, tmp_path: Path) -> None:
    path = obstacle(tmp_path)
    with pytest.raises(NotWritten, match="Cannot write") as caught:
        write(path)

    assert caught.value.code == "cannot_write"
    assert temporary_files(tmp_path) == []


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost):
        write(tmp_path / "a" / "b.png", error=ConnectionLost("gone"))

    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_impossible_path_has_no_size(obstacle: Obstacle, tmp_path: Path) -> None:
    assert file_size(obstacle(tmp_path)) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_raises(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)

    with pytest.raises(NotWritten, match="Permission denied"):
        write(tmp_path / "closed" / "a.png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no device that is always full.")
def test_a_full_disk_has_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = tempfile.mkstemp

    def make_full(**given: Any) -> tuple[int, str]:
        handle, name = make(**given)
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), name

    monkeypatch.setattr(tempfile, "mkstemp", make_full)
    with pytest.raises(NotWritten, match="No space left") as caught:
        write(tmp_path / "a.png")

    assert caught.value.code == "storage_full"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("relative", ["../a.png", "a/../../b.png", "/etc/passwd"])
def test_no_path_leaves_its_folder(relative: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="outside"):
        below(tmp_path / "out", relative)


def test_a_link_out_of_the_folder_fails_one_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "elsewhere").symlink_to(tmp_path)

    with pytest.raises(NotWritten, match="outside"):
        inside(tmp_path / "out", "elsewhere/a.png")
    assert inside(tmp_path / "out", "a.png") == tmp_path / "out" / "a.png"


def test_everything_writable_of_an_archive_is_written(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("0.png", "a.png", "深" * 100 + ".png", "z/z.png"):
            archive.writestr(name, name)
    folder_in_the_way(tmp_path)

    with zipfile.ZipFile(data) as archive, pytest.raises(NotWritten, match=r"a\.png"):
        extract_all(archive, tmp_path)
    assert (tmp_path / "0.png").read_text() == "0.png"
    assert (tmp_path / "z" / "z.png").read_text() == "z/z.png"
