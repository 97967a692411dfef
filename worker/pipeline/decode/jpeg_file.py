"""Parse a JPEG file: its frame, its EXIF, and the parts that make up its picture.

Cameras and programs write JPEGs that break the standard beside the pixels: a missing end, a scan whose
parameters are zeros, a colour profile in wrongly numbered pieces, bytes between segments. Viewers show them
all. This module keeps what the pixels depend on, in the form that libjpeg expects, so that anything libjpeg
still complains about has cost pixels.

Format: ITU-T T.81 (segments: B.1, B.2; scans of a progressive JPEG: G.1), JFIF 1.02, and
Adobe's Technical Note 5116 for APP14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

from shared.errors import ImageCorrupt, UnsupportedFormat

#: The most scans of one JPEG. Encoders write about ten; thousands of empty scans over a large picture would
#: occupy a decoder for minutes.
MAX_SCANS = 200

_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
APP0, APP1, _APP14 = 0xE0, 0xE1, 0xEE
_RESTARTS = range(0xD0, 0xD8)
#: Quantisation and Huffman tables, arithmetic conditioning, restart interval.
_TABLES = (0xDB, 0xC4, 0xCC, 0xDD)
#: Start of frame: C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_PROGRESSIVE = (0xC2, 0xCA)

#: A marker without its fill bytes; and a marker that ends a scan's data, as a restart marker does not.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)

#: What may follow a picture without an end marker: a video (MP4's first box) or an archive.
_TRAILER = re.compile(rb"\0\0\0.ftyp|PK\x03\x04", re.DOTALL)

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

#: The most zeros that an encoder puts before a restart marker to align it.
_MOST_PADDING = 64

_RESTART_INTERVAL = b"\xff\xdd"
_JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
#: Adobe's colour transform by the number of components, which libjpeg assumes for an unknown one.
_USUAL_TRANSFORM = {1: 0, 3: 1, 4: 2}

Body: TypeAlias = "bytes | memoryview"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a JPEG's start of frame says."""

    kind: int
    height: int
    width: int
    #: The identifiers of the components.
    components: tuple[int, ...]

    @classmethod
    def parse(cls, kind: int, body: bytes) -> Self:
        """Parse it. Raises UnsupportedFormat unless it has 8 bits and 1, 3 or 4 components."""
        if len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise ImageCorrupt
        if body[0] != 8 or body[5] not in (1, 3, 4):
            raise UnsupportedFormat("This kind of JPEG is not one Fathom reads.")
        height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        components = tuple(body[6 : 6 + 3 * body[5] : 3])
        return cls(kind=kind, height=height, width=width, components=components)


@dataclass(frozen=True, kw_only=True)
class JpegFile:
    """A JPEG whose segments before the first scan have been read."""

    frame: Frame
    #: The EXIF block, beginning with `Exif`; empty if there is none.
    exif: bytes
    #: What the pixels depend on, from the start to the first scan.
    header: bytes
    #: Where the first scan begins in the file.
    scans_at: int
    #: Whether one scan holds the whole picture, as in nearly all JPEGs that are not progressive.
    one_scan: bool


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan's header with the tables before it, and its data."""

    head: bytes
    body: Body


@dataclass(frozen=True, kw_only=True)
class JpegPicture:
    """The parts of a JPEG that make up its pixels."""

    header: bytes
    scans: tuple[Scan, ...]
    #: Whether the end of the picture is marked.
    ended: bool
    #: Whether zeros after its data were removed, the first of which may be its last byte.
    filled_up: bool = False

    def join(self) -> bytes:
        """Return the file, with an empty segment, numbered from APP1 on, after the data of each scan."""
        parts: list[Body] = [self.header]
        for number, scan in enumerate(self.scans):
            parts += (scan.head, scan.body, bytes((0xFF, _label(number), 0, 2)))
        return b"".join((*parts, b"\xff\xd9"))

    def mended(self) -> JpegPicture:
        """Remove what follows the picture if it has no end marker, and renumber its restart markers."""
        picture = self if self.ended else self._without_trailer()
        if _RESTART_INTERVAL not in self.header + b"".join(scan.head for scan in self.scans):
            return picture
        scans = tuple(replace(scan, body=_renumbered(scan.body)) for scan in picture.scans)
        return replace(picture, scans=scans)

    def without_surplus(self, count: int, marker: int) -> JpegPicture:
        """Remove bytes before a marker that the decoder did not need; its count may be up to eight too low.

        Raises ImageCorrupt if they are part of the picture.
        """
        if marker in _RESTARTS:
            scans = tuple(replace(scan, body=_without_padding(scan.body, count)) for scan in self.scans)
            return self._smaller(replace(self, scans=scans))
        numbers = [number for number in range(len(self.scans)) if _label(number) == marker]
        if not numbers:
            raise ImageCorrupt
        number = numbers[-1]
        # Only the last scan may have been cut off and padded. In other scans, the last byte may be a zero.
        if number == len(self.scans) - 1 and len(left := self._without_zeros()) < len(self):
            return left
        return self._smaller(self._with_body(number, self.scans[number].body[:-count]))

    def lengthened(self, more: bytes) -> JpegPicture:
        """Add bytes to the data of the last scan."""
        return self._with_body(len(self.scans) - 1, bytes(self.scans[-1].body) + more)

    def __len__(self) -> int:
        return sum(len(scan.body) for scan in self.scans)

    def _smaller(self, other: JpegPicture) -> JpegPicture:
        if len(other) >= len(self):
            raise ImageCorrupt
        return other

    def _without_trailer(self) -> JpegPicture:
        body = self.scans[-1].body
        found = _TRAILER.search(body)
        return self._with_body(len(self.scans) - 1, body[: found.start()] if found else body)._without_zeros()

    def _without_zeros(self) -> JpegPicture:
        """Remove zeros at the end: they would be decoded in place of missing pixels."""
        body = bytes(self.scans[-1].body)
        left = body.rstrip(b"\0")
        # A zero after an FF belongs to it.
        left = body[: len(left) + 1] if left.endswith(b"\xff") else left
        return replace(self._with_body(len(self.scans) - 1, left), filled_up=len(left) < len(body))

    def _with_body(self, number: int, body: Body) -> JpegPicture:
        scans = list(self.scans)
        scans[number] = replace(scans[number], body=body)
        return replace(self, scans=tuple(scans))


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment of a JPEG, by positions in the file."""

    marker: int
    start: int
    #: Where the content after the length begins.
    body: int
    end: int


def read_jpeg(data: bytes) -> JpegFile:
    """Read a JPEG's header. Raises ImageCorrupt or UnsupportedFormat."""
    frame, transform = None, None
    exif: list[bytes] = []
    kept = [b"\xff\xd8"]
    for segment in _segments(data, 2):
        body = data[segment.body : segment.end]
        if segment.marker == _SOS:
            if frame is None:
                break
            kept.append(_adobe(transform, frame))
            return _opened(frame, b"".join(exif), b"".join(kept), segment.start, body)
        if segment.marker in (_SOI, _EOI):
            break
        if segment.marker in _FRAMES:
            frame = Frame.parse(segment.marker, body)
        if segment.marker == APP1 and body.startswith(b"Exif\0\0"):
            exif.append(body[6:] if exif else body)
        if segment.marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            transform = body[11]
        if cleaned := _cleaned(segment, data):
            kept.append(cleaned)
    raise ImageCorrupt


def header_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments before the first scan."""
    for segment in _segments(data, 2):
        if segment.marker in (_SOS, _SOI, _EOI):
            return
        yield segment


def read_picture(data: bytes, file: JpegFile) -> JpegPicture:
    """Read a JPEG's scans. Raises ImageCorrupt if one is missing, or if there are too many."""
    missing = _Missing(file.frame)
    scans: list[Scan] = []
    tables: list[bytes] = []
    count, ended = 0, False
    for segment, body_end in _scan_segments(data, file.scans_at):
        if segment.marker == _EOI or not _belongs(segment, data, file.frame):
            break
        if segment.marker in _TABLES:
            tables.append(data[segment.start : segment.end])
        if segment.marker != _SOS:
            continue
        if (count := count + 1) > MAX_SCANS:
            raise ImageCorrupt(f"The JPEG has more than {MAX_SCANS} scans, as no camera writes it.")
        if missing:
            head = b"".join((*tables, missing.take(data[segment.start : segment.end])))
            scans.append(Scan(head=head, body=memoryview(data)[segment.end : body_end]))
            tables.clear()
            ended = data[body_end : body_end + 2] == b"\xff\xd9"
    if missing:
        raise ImageCorrupt("The file is damaged: parts of the picture are missing.")
    return JpegPicture(header=file.header, scans=tuple(scans), ended=ended)


class _Missing:
    """Which bits of which coefficients of which components no scan has sent yet."""

    def __init__(self, frame: Frame) -> None:
        self._sequential = frame.kind not in _PROGRESSIVE
        # By component, how many low bits of each of 64 coefficients are missing; 13 means all of them.
        self._bits = {component: [13] * 64 for component in frame.components}

    def __bool__(self) -> bool:
        return any(any(bits) for bits in self._bits.values())

    def take(self, scan: bytes) -> bytes:
        """Note what a scan sends; return its header with the parameters that its kind of JPEG requires."""
        count = scan[4]
        first, last, bits = scan[5 + 2 * count : 8 + 2 * count]
        if self._sequential:
            # Phones write zeros or nonsense here, and libjpeg ignores it.
            first, last, bits = 0, 63, 0
        for component in scan[5 : 5 + 2 * count : 2]:
            for coefficient in range(first, min(last, 63) + 1):
                self._bits[component][coefficient] = bits & 15
        return scan[: 5 + 2 * count] + bytes((first, last, bits))


def _opened(frame: Frame, exif: bytes, header: bytes, at: int, scan: bytes) -> JpegFile:
    one_scan = frame.kind in _SEQUENTIAL and scan[:1] == bytes((len(frame.components),))
    return JpegFile(frame=frame, exif=exif, header=header, scans_at=at, one_scan=one_scan)


def _segments(data: bytes, at: int) -> Iterator[Segment]:
    """Yield a JPEG's segments, whatever lies between them, up to one that exceeds the file."""
    while (found := _MARKER.search(data, at)) is not None:
        start, marker = found.start(), data[found.end() - 1]
        at = start + 2
        if marker in (_SOI, _EOI, _TEM) or marker in _RESTARTS:
            yield Segment(marker=marker, start=start, body=at, end=at)
            continue
        length = int.from_bytes(data[at : at + 2])
        if at + max(length, 2) > len(data):
            return
        at += max(length, 2)
        yield Segment(marker=marker, start=start, body=start + 4, end=at)


def _scan_segments(data: bytes, at: int) -> Iterator[tuple[Segment, int]]:
    """Yield the segments from the first scan on, each with the end of the data after it."""
    while (segment := next(_segments(data, at), None)) is not None:
        at = segment.end
        if segment.marker == _SOS:
            found = _END_OF_SCAN.search(data, at)
            at = found.start() if found else len(data)
        yield segment, at


def _belongs(segment: Segment, data: bytes, frame: Frame) -> bool:
    """Return whether a segment after the first scan belongs to the picture, not to what follows it."""
    if segment.marker != _SOS:
        return segment.marker in _TABLES or segment.marker >= 0xDC or segment.marker in _RESTARTS
    count, length = data[segment.body], segment.end - segment.body
    components = data[segment.body + 1 : segment.body + 1 + 2 * count : 2]
    if length != 4 + 2 * count or not components:
        return False
    return set(components) <= set(frame.components)


def _adobe(transform: int | None, frame: Frame) -> bytes:
    """Return Adobe's segment with a colour transform that is valid for so many components."""
    if transform is None:
        return b""
    usual = _USUAL_TRANSFORM[len(frame.components)]
    return _ADOBE + bytes((transform if transform in (0, usual) else usual,))


def _cleaned(segment: Segment, data: bytes) -> bytes:
    """Return a header segment as libjpeg expects it; empty if no pixel depends on it."""
    body = data[segment.body : segment.end]
    if segment.marker == APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return _JFIF
    if segment.marker >= APP0 or segment.marker in _RESTARTS or segment.marker == _TEM:
        return b""
    return data[segment.start : segment.end]


def _label(number: int) -> int:
    """Return the marker of the segment after a scan, APP1 to APP13: libjpeg's complaints name it."""
    return APP1 + number % 13


def _renumbered(body: Body) -> Body:
    """Number restart markers as the standard requires if an encoder numbers them in its own way.

    If a number is skipped, an interval may be missing: libjpeg will complain.
    """
    positions = [found.end() - 1 for found in _RESTART.finditer(body)]
    numbers = [body[at] - 0xD0 for at in positions]
    for step in (0, 1):
        if numbers and numbers == [(numbers[0] + step * n) % 8 for n in range(len(numbers))]:
            mended = bytearray(body)
            for n, at in enumerate(positions):
                mended[at] = 0xD0 + n % 8
            return bytes(mended)
    return body


def _without_padding(body: Body, count: int) -> bytes:
    """Remove `count` zeros before each restart marker that has as many."""
    zeros, whole = bytes(min(count, _MOST_PADDING)), bytes(body)
    parts, at = [], 0
    for found in _RESTART.finditer(whole):
        end = found.start() - len(zeros)
        parts.append(whole[at : end if whole[end : found.start()] == zeros else found.start()])
        at = found.start()
    return b"".join((*parts, whole[at:]))
