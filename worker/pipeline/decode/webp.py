"""WebP without what only describes the picture: libwebp refuses whole files over a length or a flag there."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shared.errors import ImageCorrupt

#: Chunks that make the picture (WebP Container Specification).
_PICTURE = (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
#: Chunks beside it, and what Pillow calls them.
_BESIDE = {b"EXIF": "exif", b"XMP ": "xmp", b"ICCP": "icc_profile"}
#: Chunks after which the picture of a file that does not move is whole.
_STILL = (b"VP8 ", b"VP8L")

#: Bits of the extended header that concern the picture: whether it moves, and whether it has alpha.
_PICTURE_FLAGS = 0x12
_EXTENDED_SIZE = 10

_HEAD_SIZE = 12


def strip_webp(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return a WebP that holds its picture alone, and what was beside it, named as in Pillow's `Image.info`.

    Metadata may be cut off or say a wrong length. A file that is not as long as it says is damaged,
    and so is one whose picture is cut off. Raises ImageCorrupt.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    # Some writers count the byte that fills up an odd chunk, and leave it out.
    if end > len(data) + 1:
        raise ImageCorrupt
    file, is_whole = bytearray(b"RIFF\0\0\0\0WEBP"), False
    info: dict[str, bytes] = {}
    for kind, body in _chunks(memoryview(data)[:end]):
        if kind in _BESIDE:
            info.setdefault(_BESIDE[kind], bytes(body))
        elif kind in _PICTURE and not is_whole:
            file += _chunk(kind, body)
        is_whole = is_whole or kind in _STILL
    file[4:8] = struct.pack("<I", len(file) - 8)
    return bytes(file), info


def _chunks(file: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield all chunks; one beside the picture is cut off if it says that it is longer than the file."""
    at = _HEAD_SIZE
    while at + 8 <= len(file):
        kind, length = struct.unpack_from("<4sI", file, at)
        body = file[at + 8 : at + 8 + length]
        if len(body) < length and kind in _PICTURE:
            raise ImageCorrupt
        yield kind, body
        at += 8 + length
        # An odd chunk is filled up; some writers do not.
        at += length % 2 and not _is_known(file, at)


def _is_known(file: memoryview, at: int) -> bool:
    kind = bytes(file[at : at + 4])
    return kind in _PICTURE or kind in _BESIDE


def _chunk(kind: bytes, body: memoryview) -> bytes:
    picture = bytes(body)
    if kind == b"VP8X":
        # To libwebp flags without their chunks are as bad as chunks without their flags.
        picture = bytes(flags & _PICTURE_FLAGS for flags in picture[:1]) + picture[1:_EXTENDED_SIZE]
    return kind + struct.pack("<I", len(picture)) + picture + bytes(len(picture) % 2)
