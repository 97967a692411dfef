"""The albums of the comparison: as many photos as wanted, no two files alike."""

from __future__ import annotations

import os
from pathlib import Path

from bench.album import make_album

#: A few photos of each class are made; the others have the same pixels under another comment.
PHOTOS = 6

_COMMENT = b"\xff\xfe"
_START = 2


class Albums:
    """Makes folders of photos below `folder`. The same photos come first in all albums of a class."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, list[bytes]] = {}
        self._count = 0

    def make(self, size_class: str, photos: int, *, small_first: int = 0) -> Path:
        """Return a folder of `photos` photos, called as in `photo_names`, after `small_first` of VGA's."""
        self._count += 1
        folder = self._folder / f"{self._count:03}-{size_class}"
        folder.mkdir(parents=True)
        for number in range(small_first):
            os.link(self._file("vga", number), folder / f"0-{number:04}.jpg")
        for number, name in enumerate(photo_names(photos)):
            os.link(self._file(size_class, number), folder / name)
        return folder

    def pixels(self, size_class: str) -> list[bytes]:
        """Return the photos of a class that differ in their pixels."""
        if size_class not in self._made:
            self._made[size_class] = [photo.data for photo in make_album(PHOTOS, classes=(size_class,))]
        return self._made[size_class]

    def _file(self, size_class: str, number: int) -> Path:
        path = self._folder / "photos" / f"{size_class}-{number:04}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(number_photo(self.pixels(size_class)[number % PHOTOS], number))
        return path


def photo_names(photos: int) -> list[str]:
    """Return the names of an album's photos, of which each shows what the one `PHOTOS` earlier does."""
    return [f"1-{number:04}.jpg" for number in range(photos)]


def number_photo(jpeg: bytes, number: int) -> bytes:
    """Return a JPEG with a number as its comment: Fathom's client never sends the same bytes twice."""
    comment = str(number).encode()
    return jpeg[:_START] + _COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[_START:]
