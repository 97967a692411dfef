"""Hide the metadata of a HEIF or AVIF, because libavif refuses files with damaged EXIF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: Types of items that describe the picture: EXIF, and XMP and others of a media type (ISO/IEC 23008-12).
_METADATA = (b"Exif", b"mime", b"uri ")
#: A type that no reader knows, so that readers skip it.
_HIDDEN = b"skip"


def hide_metadata(data: bytes) -> bytes:
    """Return the file with every metadata item renamed to a type that no reader knows.

    If its boxes are damaged, rename only the items before the damage; the reader will refuse the file.
    """
    hidden = bytearray(data)
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            for at in _item_types(data, start + 4, end):
                if data[at : at + 4] in _METADATA:
                    hidden[at : at + 4] = _HIDDEN
    return bytes(hidden)


def _item_types(data: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the position of each item's type in the children of a `meta` box."""
    for kind, inner, inner_end in _boxes(data, start, end):
        if kind != b"iinf":
            continue
        # Four bytes of version and flags; the number of items has two bytes in version 0, else four.
        first = inner + (6 if data[inner] == 0 else 8)
        for entry, at, _ in _boxes(data, first, inner_end):
            if entry == b"infe" and data[at] in (2, 3):
                # The item's number has two bytes in version 2, four in version 3; two of protection follow.
                yield at + (8 if data[at] == 2 else 10)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its content starts and ends."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        stop = at + size if size else end
        if not start < stop <= end:
            return
        yield kind, start, stop
        at = stop
