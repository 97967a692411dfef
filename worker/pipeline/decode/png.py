"""PNG files taken apart: what makes the picture is checked, and what is beside it is left out.

A PNG says of each of its chunks whether a picture can be had without it. Damage to one that it cannot
be had without is damage to the picture. Of the others only transparency and orientation are looked
at, and only if they are sound: no text, profile or time costs a picture, however large or wrong it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shared.errors import ImageCorrupt, UnsupportedFormat

#: Kinds of colour, as the header counts them (PNG, third edition, 11.2.1).
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: Bits of a sample that each kind of colour may have.
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KNOWN = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_HEADER = struct.Struct(">II5B")

#: The text in which ImageMagick keeps EXIF.
_PROFILE = b"Raw profile type exif"
_TEXT_KINDS = (b"tEXt", b"zTXt")

#: Bytes of metadata that are looked at: an orientation is near the start of whatever holds it.
_MOST_METADATA = 2**20

#: Bytes handed on at a time: what zlib has not consumed yet is copied at every call.
_PIECE = 65_536


class _Chunk(NamedTuple):
    kind: bytes
    body: memoryview
    checksum: int

    def is_sound(self) -> bool:
        return zlib.crc32(self.body, zlib.crc32(self.kind)) == self.checksum


@dataclass(frozen=True, kw_only=True)
class Png:
    """What makes the picture of a PNG."""

    width: int
    height: int
    #: Bits of a sample: 1, 2, 4, 8 or 16.
    depth: int
    #: GREY, RGB, PALETTE, GREY_ALPHA or RGB_ALPHA.
    colour: int
    interlaced: bool
    #: Red, green and blue of up to 256 colours.
    palette: bytes = b""
    #: The alpha of each colour of the palette, or the one transparent colour, as in the file; or nothing.
    transparency: bytes = b""
    #: What may say how to turn the picture, named as Pillow does in `Image.info`.
    info: dict[str, str | bytes] = field(default_factory=dict)
    data: bytes = field(repr=False)

    def image_data(self) -> Iterator[memoryview]:
        """Yield the compressed rows piece by piece."""
        for chunk in _chunks(self.data):
            if chunk.kind == b"IDAT":
                yield from (chunk.body[at : at + _PIECE] for at in range(0, len(chunk.body), _PIECE))


def read_png(data: bytes) -> Png:
    """Take a PNG apart. What follows its end is ignored.

    Raises ImageCorrupt if a chunk that the picture needs is damaged, or if the file ends before its end;
    UnsupportedFormat if the picture needs a chunk that is not in the specification.
    """
    chunks = _checked(_chunks(data))
    png = _read_header(next(chunks), data)
    palette, transparency, has_rows = b"", b"", False
    info: dict[str, str | bytes] = {}
    for kind, body, _ in chunks:
        # Colours must be known before the rows. Of several chunks the first counts, as in libpng.
        if kind == b"PLTE" and not palette and not has_rows:
            palette = bytes(body)
        elif kind == b"tRNS" and not transparency and not has_rows and _fits(body, png.colour, palette):
            transparency = bytes(body)
        elif kind == b"eXIf":
            info.setdefault("exif", bytes(body[:_MOST_METADATA]))
        elif kind in _TEXT_KINDS:
            _note_text(kind, body, info)
        has_rows = has_rows or kind == b"IDAT"
    if png.colour == PALETTE and (not palette or len(palette) % 3 or len(palette) > 768):
        raise ImageCorrupt
    return replace(png, palette=palette, transparency=transparency, info=info)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield all chunks up to the end of the picture. Raises ImageCorrupt if there is no end."""
    view, at, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise ImageCorrupt
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data) or not kind.isalpha():
            raise ImageCorrupt
        yield _Chunk(kind, view[at + 8 : end], *struct.unpack_from(">I", data, end))
        at = end + 4


def _checked(chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    """Check the chunks that the picture needs. Of the others yield those that are used and sound."""
    for chunk in chunks:
        # Without a chunk whose name begins with a capital there is no picture.
        if chunk.kind[:1].isupper():
            if not chunk.is_sound():
                raise ImageCorrupt
            if chunk.kind not in _KNOWN:
                raise UnsupportedFormat("This kind of PNG is not one Fathom reads.")
            yield chunk
        elif _is_used(chunk) and chunk.is_sound():
            yield chunk


def _is_used(chunk: _Chunk) -> bool:
    return chunk.kind in (b"tRNS", b"eXIf") or (
        chunk.kind in _TEXT_KINDS and _keyword(chunk.body) == _PROFILE
    )


def _read_header(chunk: _Chunk, data: bytes) -> Png:
    if chunk.kind != b"IHDR" or len(chunk.body) != _HEADER.size:
        raise ImageCorrupt
    width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack(chunk.body)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise ImageCorrupt
    return Png(width=width, height=height, depth=depth, colour=colour, interlaced=bool(interlace), data=data)


def _fits(transparency: memoryview, colour: int, palette: bytes) -> bool:
    """Tell whether transparency has the length that the kind of colour asks for. If not, it means nothing."""
    if colour == PALETTE:
        return 1 <= len(transparency) <= len(palette) // 3
    return len(transparency) == {GREY: 2, RGB: 6}.get(colour)


def _keyword(text: memoryview) -> bytes:
    return bytes(text[:80]).partition(b"\0")[0]


def _note_text(kind: bytes, body: memoryview, info: dict[str, str | bytes]) -> None:
    """Put the first profile of EXIF into `info`, cut off where it is too long."""
    keyword, _, text = bytes(body[:_MOST_METADATA]).partition(b"\0")
    if kind == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST_METADATA)
        except zlib.error:
            return
    info.setdefault(keyword.decode("latin-1"), text.decode("latin-1"))
