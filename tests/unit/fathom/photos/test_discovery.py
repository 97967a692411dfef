from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fathom.photos.discovery import Found, check_path, find_photos

PNG = b"\x89PNG\r\n\x1a\n"
CR3 = b"\0\0\0\x18ftypcrx " + bytes(12)


def put(path: Path, data: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def find(*paths: Path, skip: Path | None = None) -> Found:
    return find_photos(paths, skip=skip)


def names(*paths: Path, skip: Path | None = None) -> list[str]:
    return [name for _, name in find(*paths, skip=skip).photos]


def refused(*paths: Path) -> dict[str, str]:
    return {photo.name: photo.code for photo in find(*paths).refused}


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.JPG", "a.HeIc", "空港/到着 ✈️.tiff", "a/b/c/d.webp", "text.jpeg"]
)
def test_files_named_like_pictures_are_found_whatever_they_contain(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, b"anything")

    assert names(tmp_path) == [name]


def test_pictures_are_found_whatever_their_names(tmp_path: Path) -> None:
    put(tmp_path / "IMG_0001")
    put(tmp_path / "scan.dat")

    assert names(tmp_path) == ["IMG_0001", "scan.dat"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".a.jpg",
            "._a.jpg",
            ".git/a.jpg",
            "x/.thumbnails/a.jpg",
            "@eaDir/a.jpg/thumb.jpg",
            "#recycle/a.jpg",
        ),
        *("__MACOSX/a.jpg", "x/$RECYCLE.BIN/a.jpg", "System Volume Information/a.jpg", ".Trash-0/a.cr3"),
        *("Thumbs.db", ".DS_Store", "desktop.ini", ".hidden.mov"),
    ],
)
def test_system_files_are_ignored_silently(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)

    assert find(tmp_path) == Found()


def test_videos_sidecars_and_other_files_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    for name in ("clip.MOV", "clip.THM", "x/clip.mp4", "IMG_1.AAE", "IMG_1.jpg.json", "notes.txt", "empty"):
        put(tmp_path / name, b"")

    found = find(tmp_path)

    assert [name for _, name in found.photos] == ["a.jpg"]
    assert (found.refused, str(found.skipped)) == (
        [],
        "Skipped 7 files that are no photos: 2 videos, 3 sidecars, 2 other files.",
    )


def test_unsupported_pictures_are_refused_by_kind(tmp_path: Path) -> None:
    put(tmp_path / "IMG_1.CR3", CR3)
    put(tmp_path / "IMG_1.jpg")
    put(tmp_path / "no suffix", CR3)
    put(tmp_path / "x" / "scan.psd", b"8BPS")

    found = find(tmp_path)

    assert [name for _, name in found.photos] == ["IMG_1.jpg"]
    assert [(photo.name, photo.code) for photo in found.refused] == [
        ("IMG_1.CR3", "unsupported_format"),
        ("no suffix", "unsupported_format"),
        ("x/scan.psd", "unsupported_format"),
    ]
    assert ["(Canon CR3)" in photo.message for photo in found.refused] == [True, True, False]
    assert str(found.skipped) == ""


def test_a_file_given_by_itself_is_used_whatever_its_name(tmp_path: Path) -> None:
    text, hidden = put(tmp_path / "notes.txt", b"text"), put(tmp_path / ".hidden", b"text")

    assert find(text, hidden).photos == [(text, "notes.txt"), (hidden, ".hidden")]


def test_a_file_given_by_itself_that_is_known_not_to_be_a_photo_is_skipped(tmp_path: Path) -> None:
    found = find(put(tmp_path / "clip.mov"), put(tmp_path / "a.xmp"), put(tmp_path / "a.nef"))

    assert found.photos == []
    assert (found.skipped.names, [photo.name for photo in found.refused]) == (
        ["clip.mov", "a.xmp"],
        ["a.nef"],
    )


def test_names_are_relative_to_each_folder_given_and_sorted(tmp_path: Path) -> None:
    for name in ("x/b.png", "x/a.png", "x/sub/c.png", "y/a.png"):
        put(tmp_path / name)

    assert names(tmp_path / "x", tmp_path / "y") == ["a.png", "b.png", "sub/c.png", "a.png"]


def test_the_folder_of_results_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "out" / "a.png")

    assert names(tmp_path, skip=tmp_path / "x" / ".." / "out") == ["a.png"]


def test_a_missing_path_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find(tmp_path / "nowhere")

    assert caught.value.filename == str(tmp_path / "nowhere")


def test_only_links_to_files_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.png")

    assert names(tmp_path) == ["a.png", "link.jpg"]


def test_broken_links_are_named_and_harmless(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "gone.mov").symlink_to(tmp_path / "nowhere")

    assert names(tmp_path) == ["a.png"]
    assert refused(tmp_path) == {"gone.jpg": "unreadable", "self.jpg": "unreadable"}
    assert refused(tmp_path / "a.png", tmp_path / "self.jpg") == {"self.jpg": "unreadable"}


def test_pipes_and_sockets_in_a_folder_do_not_block(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    for name in ("pipe.jpg", "pipe.cr3", "pipe", "pipe.mov"):
        os.mkfifo(tmp_path / name)
    os.mknod(tmp_path / "socket.jpg", 0o600 | stat.S_IFSOCK)

    assert names(tmp_path) == ["a.png"]
    assert refused(tmp_path) == {name: "unreadable" for name in ("pipe.cr3", "pipe.jpg", "socket.jpg")}
    assert find(tmp_path).skipped.count == 2


@pytest.mark.parametrize(("make", "said"), [("pipe", "a pipe"), ("/dev/null", "a device")])
def test_a_path_that_is_neither_file_nor_folder_is_refused(tmp_path: Path, make: str, said: str) -> None:
    path = tmp_path / make
    if make == "pipe":
        os.mkfifo(path)

    with pytest.raises(OSError, match=said) as caught:
        check_path(path)

    assert caught.value.filename == str(path)


def test_a_file_descriptor_of_this_process_can_be_read(tmp_path: Path) -> None:
    with put(tmp_path / "a.png").open("rb") as file:
        number = str(file.fileno())
        found = find(Path("/dev/fd", number))

    assert found.photos == [(tmp_path / "a.png", number)]


def test_unreadable_folders_are_named_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "locked.jpg", "locked", "x/a.png", "y/a.png", "z/a.png"):
        put(tmp_path / name)
    for name, mode in (("locked.jpg", 0o000), ("locked", 0o000), ("x", 0o000), ("y", 0o444)):
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    with without_root_rights(tmp_path):
        found = find(Path())

    assert [name for _, name in found.photos] == ["a.png", "z/a.png"]
    assert [(photo.name, photo.code) for photo in found.refused] == [
        (name, "unreadable") for name in ("locked", "locked.jpg", "x", "y/a.png")
    ]
    assert all("Permission denied" in photo.message for photo in found.refused)


def test_an_unreadable_given_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "album" / "a.png")
    put(tmp_path / "b.png")
    (tmp_path / "album").chmod(0o000)
    monkeypatch.chdir(tmp_path)
    with without_root_rights(tmp_path):
        found = find(Path("album"), Path("album/a.png"), Path("b.png"))

    assert [name for _, name in found.photos] == ["b.png"]
    assert [photo.name for photo in found.refused] == ["album", "a.png"]


@contextmanager
def without_root_rights(folder: Path) -> Iterator[None]:
    """Drop the rights of root while the block runs, but keep access to `folder`."""
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_name_that_is_not_utf_8_is_made_valid(tmp_path: Path) -> None:
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")

    assert names(tmp_path) == ["caf\ufffd.jpg"]
