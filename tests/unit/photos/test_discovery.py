from __future__ import annotations

import os
from pathlib import Path

import pytest

from photos.discovery import find_photos

PNG = b"\x89PNG\r\n\x1a\n"


def put(path: Path, data: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(*paths: Path, skip: Path | None = None) -> list[str]:
    return [name for _, name in find_photos(paths, skip=skip)]


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.JPG", "a.HeIc", "空港/到着 ✈️.tiff", "a/b/c/d.webp", "text.jpeg"]
)
def test_files_named_as_pictures_are_taken_whatever_they_hold(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, b"anything")

    assert names(tmp_path) == [name]


def test_pictures_are_taken_whatever_their_name(tmp_path: Path) -> None:
    put(tmp_path / "IMG_0001")
    put(tmp_path / "scan.dat")

    assert names(tmp_path) == ["IMG_0001", "scan.dat"]


@pytest.mark.parametrize(
    "name", ["notes.txt", "movie.mp4", ".a.jpg", ".git/a.jpg", "x/.thumbnails/a.jpg", "empty"]
)
def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, b"" if name == "empty" else (PNG if "." in (name[0], name[2]) else b"text"))

    assert names(tmp_path) == []


def test_a_file_given_by_itself_is_always_taken(tmp_path: Path) -> None:
    text, hidden = put(tmp_path / "notes.txt", b"text"), put(tmp_path / ".hidden", b"text")

    assert find_photos([text, hidden]) == [(text, "notes.txt"), (hidden, ".hidden")]


def test_names_are_relative_to_each_folder_given_and_sorted(tmp_path: Path) -> None:
    for name in ("x/b.png", "x/a.png", "x/sub/c.png", "y/a.png"):
        put(tmp_path / name)

    assert names(tmp_path / "x", tmp_path / "y") == ["a.png", "b.png", "sub/c.png", "a.png"]


def test_the_folder_of_results_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "out" / "a.png")

    assert names(tmp_path, skip=tmp_path / "x" / ".." / "out") == ["a.png"]


def test_what_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find_photos([tmp_path / "nowhere"])

    assert caught.value.filename == str(tmp_path / "nowhere")


def test_pipes_and_links_that_lead_round_in_circles_do_not_block(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.png")

    assert names(tmp_path) == ["a.png", "link.jpg"]


def test_a_name_that_is_not_utf_8_becomes_one_that_is(tmp_path: Path) -> None:
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")

    assert names(tmp_path) == ["caf\ufffd.jpg"]
