from __future__ import annotations

from pathlib import Path

import pytest

from fathom.photos.discovery import find_photos
from fathom.photos.kinds import FileKind, kind_of
from fathom.photos.labels import is_labels, label_key


@pytest.mark.parametrize("name", ["b.labels.png", "a/b.LABELS.PNG", "a\\b.labels.png"])
def test_a_label_picture_is_no_photo(name: str) -> None:
    assert is_labels(name)
    assert kind_of(name, b"\x89PNG\r\n\x1a\n") is FileKind.SIDECAR


@pytest.mark.parametrize("name", ["labels.png", "b.labels.jpg", "b.label.png", "b.labels.png.jpg"])
def test_other_pictures_are_photos(name: str) -> None:
    assert not is_labels(name)
    assert kind_of(name) is FileKind.PHOTO


@pytest.mark.parametrize("name", ["a/b.JPG", "a/b.heic", "a/b.labels.png", "a\\b.png"])
def test_a_photo_and_its_label_picture_have_a_key_in_common(name: str) -> None:
    assert label_key(name) == "a/b"


def test_a_folder_has_label_pictures_beside_its_photos(tmp_path: Path) -> None:
    for name in ("b.jpg", "b.labels.png", "x/c.png", "x/c.labels.png", "d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")

    found = find_photos([tmp_path])

    assert [name for _, name in found.photos] == ["b.jpg", "d.jpg", "x/c.png"]
    assert found.labels == {"b": tmp_path / "b.labels.png", "x/c": tmp_path / "x/c.labels.png"}
    assert found.skipped.count == 0
