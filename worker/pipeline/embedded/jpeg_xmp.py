"""The XMP of a JPEG: a packet of at most 64 KB, and an extended one in pieces.

Format: Adobe's "XMP Specification Part 3: Storage in Files", 1.1.3 (JPEG).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from worker.pipeline.decode.jpeg_file import APP0, APP1, Segment, header_segments

_STANDARD = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_EXIF = b"Exif\0\0"

#: The most bytes of a packet in one segment, whose length has two bytes and counts itself.
MOST_IN_A_SEGMENT = 0xFFFF - 2 - len(_STANDARD)

#: After the namespace, a piece has the MD5 of the whole in hexadecimal, its length, and the piece's place.
_PIECE = struct.Struct(">32sII")
_MOST_IN_A_PIECE = 65_400

#: An extended packet of more bytes is not put together. Maps of phones have 2 MB at most.
MOST_EXTENDED = 24 * 2**20


@dataclass(frozen=True, kw_only=True)
class XmpPackets:
    """The packets of XMP in a file; empty where there is none."""

    standard: bytes = b""
    extended: bytes = b""


def read_packets(data: bytes) -> XmpPackets:
    """Read the packets from a JPEG's header. An incomplete or replaced extended packet counts as none."""
    standard, pieces = b"", []
    for segment in header_segments(data):
        if segment.marker != APP1:
            continue
        if data.startswith(_STANDARD, segment.body):
            standard = standard or data[segment.body + len(_STANDARD) : segment.end]
        elif data.startswith(_EXTENSION, segment.body):
            pieces.append(memoryview(data)[segment.body + len(_EXTENSION) : segment.end])
    return XmpPackets(standard=standard, extended=_join(standard, pieces))


def with_packets(data: bytes, packets: XmpPackets) -> bytes:
    """Return a JPEG with these packets in place of its own; all other bytes stay as they are.

    They follow its EXIF. `packets.standard` has at most MOST_IN_A_SEGMENT bytes.
    """
    at, cuts = 2, []
    leading = True
    for segment in header_segments(data):
        leading = leading and (segment.marker == APP0 or data.startswith(_EXIF, segment.body))
        if leading:
            at = segment.end
        if _is_xmp(data, segment):
            cuts.append((segment.start, segment.end))
    view = memoryview(data)
    parts: list[bytes | memoryview] = [view[:at], *_segments_of(packets)]
    for start, end in cuts:
        parts.append(view[at:start])
        at = end
    return b"".join((*parts, view[at:]))


def digest(extended: bytes) -> str:
    """Return how a standard packet names its extended one."""
    return hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()


def _is_xmp(data: bytes, segment: Segment) -> bool:
    return segment.marker == APP1 and data.startswith((_STANDARD, _EXTENSION), segment.body)


def _join(standard: bytes, pieces: list[memoryview]) -> bytes:
    """Put together the extended packet that the standard one names."""
    named = [piece for piece in pieces if len(piece) > _PIECE.size and bytes(piece[:32]) in standard]
    if not named:
        return b""
    _, length, _ = _PIECE.unpack_from(named[0])
    if length > min(MOST_EXTENDED, sum(len(piece) - _PIECE.size for piece in named)):
        return b""
    joined = bytearray(length)
    for piece in named:
        _, _, at = _PIECE.unpack_from(piece)
        body = piece[_PIECE.size :]
        if at + len(body) <= length:
            joined[at : at + len(body)] = body
    whole = bytes(joined)
    return whole if digest(whole).encode() in standard else b""


def _segments_of(packets: XmpPackets) -> Iterator[bytes]:
    yield _segment(_STANDARD, packets.standard)
    name = digest(packets.extended).encode()
    for at in range(0, len(packets.extended), _MOST_IN_A_PIECE):
        head = _PIECE.pack(name, len(packets.extended), at)
        yield _segment(_EXTENSION, head + packets.extended[at : at + _MOST_IN_A_PIECE])


def _segment(namespace: bytes, body: bytes) -> bytes:
    return b"\xff\xe1" + (2 + len(namespace) + len(body)).to_bytes(2) + namespace + body
