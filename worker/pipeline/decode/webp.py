"""Strip the metadata of a WebP, because libwebp refuses files with a wrong length or flag in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shared.errors import ImageCorrupt

#: Chunks that make up the picture (WebP Container Specification).
_PICTURE = (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
#: Metadata chunks, and Pillow's names for them.
_BESIDE = {b"EXIF": "exif", b"XMP ": "xmp", b"ICCP": "icc_profile"}
#: Chunks that complete the picture of a still file.
_STILL = (b"VP8 ", b"VP8L")

#: Bits of the extended header that concern the picture: animation and alpha.
_PICTURE_FLAGS = 0x12
_EXTENDED_SIZE = 10

_HEAD_SIZE = 12


def strip_webp(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return a WebP that holds only its picture, and its metadata, named as in Pillow's `Image.info`.

    Metadata may be cut off or state a wrong length. Raises ImageCorrupt if the file is shorter than it
    states, or if its picture is cut off.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    # Some writers count the padding byte of an odd chunk but do not write it.
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
    """Yield all chunks. A metadata chunk that claims to exceed the file is cut off at its end."""
    at = _HEAD_SIZE
    while at + 8 <= len(file):
        kind, length = struct.unpack_from("<4sI", file, at)
        body = file[at + 8 : at + 8 + length]
        if len(body) < length and kind in _PICTURE:
            raise ImageCorrupt
        yield kind, body
        at += 8 + length
        # An odd chunk has a padding byte, which some writers leave out.
        at += length % 2 and not _is_known(file, at)


def _is_known(file: memoryview, at: int) -> bool:
    kind = bytes(file[at : at + 4])
    return kind in _PICTURE or kind in _BESIDE


def _chunk(kind: bytes, body: memoryview) -> bytes:
    picture = bytes(body)
    if kind == b"VP8X":
        # libwebp refuses flags without their chunks and chunks without their flags.
        picture = bytes(flags & _PICTURE_FLAGS for flags in picture[:1]) + picture[1:_EXTENDED_SIZE]
    return kind + struct.pack("<I", len(picture)) + picture + bytes(len(picture) % 2)
