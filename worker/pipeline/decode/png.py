"""Parse PNG files: check the chunks that make up the picture, and skip the rest.

Each chunk of a PNG says whether it is critical. Damage to a critical chunk is damage to the picture. Of the
others, only transparency and orientation are read, and only if they are sound: no text, profile or time
stamp costs a picture, however large or wrong it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shared.errors import ImageCorrupt, UnsupportedFormat

#: Colour types, as the header numbers them (PNG, third edition, 11.2.1).
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: The bits of a sample that each colour type allows.
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

#: Bytes of metadata that are read: an orientation is near the start of its chunk.
_MOST_METADATA = 2**20

#: Bytes given to zlib at a time: it copies what it has not consumed at every call.
_PIECE = 65_536


class _Chunk(NamedTuple):
    kind: bytes
    body: memoryview
    checksum: int

    def is_sound(self) -> bool:
        return zlib.crc32(self.body, zlib.crc32(self.kind)) == self.checksum


@dataclass(frozen=True, kw_only=True)
class Png:
    """The parts of a PNG that make up its picture."""

    width: int
    height: int
    #: Bits of a sample: 1, 2, 4, 8 or 16.
    depth: int
    #: GREY, RGB, PALETTE, GREY_ALPHA or RGB_ALPHA.
    colour: int
    interlaced: bool
    #: Red, green and blue of up to 256 colours.
    palette: bytes = b""
    #: The alpha of each palette colour, or the one transparent colour, as in the file; may be empty.
    transparency: bytes = b""
    #: Metadata that may hold an orientation, named as in Pillow's `Image.info`.
    info: dict[str, str | bytes] = field(default_factory=dict)
    data: bytes = field(repr=False)

    def image_data(self) -> Iterator[memoryview]:
        """Yield the compressed rows piece by piece."""
        for chunk in _chunks(self.data):
            if chunk.kind == b"IDAT":
                yield from (chunk.body[at : at + _PIECE] for at in range(0, len(chunk.body), _PIECE))


def read_png(data: bytes) -> Png:
    """Parse a PNG, and ignore what follows its end.

    Raises ImageCorrupt if a critical chunk is damaged or the file is cut off, and UnsupportedFormat for an
    unknown critical chunk.
    """
    chunks = _checked(_chunks(data))
    png = _read_header(next(chunks), data)
    palette, transparency, has_rows = b"", b"", False
    info: dict[str, str | bytes] = {}
    for kind, body, _ in chunks:
        # Colours must precede the rows. Of several such chunks the first counts, as in libpng.
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
    """Yield critical chunks after a check, and the other chunks if they are used and sound."""
    for chunk in chunks:
        # A capital first letter marks a critical chunk.
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
    """Return whether transparency has the length that the colour type requires; if not, ignore it."""
    if colour == PALETTE:
        return 1 <= len(transparency) <= len(palette) // 3
    return len(transparency) == {GREY: 2, RGB: 6}.get(colour)


def _keyword(text: memoryview) -> bytes:
    return bytes(text[:80]).partition(b"\0")[0]


def _note_text(kind: bytes, body: memoryview, info: dict[str, str | bytes]) -> None:
    """Put the first EXIF profile into `info`, cut off if it is too long."""
    keyword, _, text = bytes(body[:_MOST_METADATA]).partition(b"\0")
    if kind == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST_METADATA)
        except zlib.error:
            return
    info.setdefault(keyword.decode("latin-1"), text.decode("latin-1"))
