"""The directories of a TIFF: what the file says of each of its pictures.

Sources: TIFF 6.0, section 2; BigTIFF; TIFF Technical Note 1 (SubIFDs). A directory may claim billions of
values, so values are read on request, and only as many as requested.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageCorrupt, UnsupportedFormat

#: The most directories searched for a picture at full size.
MAX_DIRECTORIES = 64


class Tag(IntEnum):
    """The fields of a directory that Fathom reads."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_SIZES = 279
    PLANAR = 284
    T4_OPTIONS = 292
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    DNG_VERSION = 50706


#: By the number of a field type: the NumPy type of its integers. A rational is read as two of them.
_NUMBERS = {
    1: "u1",
    3: "u2",
    4: "u4",
    5: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_RATIONAL = 5

#: The bytes of one value of each type, which say whether all values fit into the entry itself.
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}

#: Photometric numbers of a camera's raw data: a colour filter array, and linear raw.
_RAW = (32803, 34892)
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2

_RAW_FILE = "This is a camera's raw file; export it as JPEG, PNG or TIFF first."

#: The most entries of a directory. The specification has no limit, but no program writes so many.
_MAX_ENTRIES = 4096


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How a directory packs its numbers, in the notation of struct."""

    #: The position of the first directory's offset in the file.
    first: int
    count: str
    entry: str
    offset: str


_CLASSIC = _Form(first=4, count="H", entry="HHII", offset="I")
_BIG = _Form(first=8, count="Q", entry="HHQQ", offset="Q")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One entry of a directory."""

    kind: int
    count: int
    #: The position of the first value in the file.
    at: int


@dataclass(frozen=True, kw_only=True)
class Directory:
    """What a TIFF says of one picture."""

    data: bytes
    #: The byte order, `<` or `>`, in the notation of NumPy and struct.
    order: str
    fields: Mapping[int, Field]

    def numbers(self, tag: Tag, most: int) -> NDArray[np.int64]:
        """Return the first `most` values of a field; none if it is missing or holds no integers.

        Raises ImageCorrupt if they exceed the file.
        """
        field = self.fields.get(tag)
        if field is None or field.kind not in _NUMBERS:
            return np.empty(0, np.int64)
        dtype = np.dtype(self.order + _NUMBERS[field.kind])
        count = min(field.count * (2 if field.kind == _RATIONAL else 1), most)
        if field.at + count * dtype.itemsize > len(self.data):
            raise ImageCorrupt
        return np.frombuffer(self.data, dtype, count, field.at).astype(np.int64)

    def number(self, tag: Tag, default: int) -> int:
        """Return the first value of a field."""
        found = self.numbers(tag, 1)
        return int(found[0]) if found.size else default

    def octets(self, tag: Tag, most: int) -> bytes:
        """Return the first `most` bytes of a field, as `numbers` does."""
        return self.numbers(tag, most).astype(np.uint8).tobytes()

    @property
    def is_raw(self) -> bool:
        return Tag.DNG_VERSION in self.fields or self.number(Tag.PHOTOMETRIC, 0) in _RAW

    @property
    def is_full_size(self) -> bool:
        """Return whether this is neither a preview of another picture nor a mask."""
        kind = self.number(Tag.NEW_SUBFILE_TYPE, 0)
        return not kind & (_REDUCED | _MASK) and self.number(Tag.SUBFILE_TYPE, 0) != _OLD_REDUCED


def find_picture(data: bytes) -> Directory:
    """Return the first full-size picture of a TIFF.

    Raises ImageCorrupt, and UnsupportedFormat for a camera's raw file.
    """
    if data[4:12] == b"\x10\0\0\0CR\2\0":
        raise UnsupportedFormat(_RAW_FILE)
    for directory in read_directories(data):
        if directory.is_raw:
            raise UnsupportedFormat(_RAW_FILE)
        if directory.is_full_size:
            _refuse_raw_below(directory)
            return directory
    raise UnsupportedFormat("This TIFF holds only a preview, as a camera's raw file does.")


def read_directories(data: bytes) -> Iterator[Directory]:
    """Yield the directories of a TIFF: each one, then its sub-directories, then the next one.

    Raises ImageCorrupt for a directory that cannot be read.
    """
    order = "<" if data[:2] == b"II" else ">"
    form = _BIG if data[2:4] in (b"+\0", b"\0+") else _CLASSIC
    waiting = [_unpack(data, order + form.offset, form.first)[0]]
    seen: set[int] = set()
    while waiting and len(seen) < MAX_DIRECTORIES:
        at = waiting.pop(0)
        if at == 0 or at in seen:
            continue
        seen.add(at)
        directory, following = _read_directory(data, order, form, at)
        yield directory
        below = directory.numbers(Tag.SUB_DIRECTORIES, MAX_DIRECTORIES).tolist()
        waiting = [*below, following, *waiting]


def _refuse_raw_below(directory: Directory) -> None:
    """Refuse a picture that is only the preview of raw data in its sub-directories."""
    if Tag.SUB_DIRECTORIES not in directory.fields:
        return
    try:
        below = any(other.is_raw for other in read_directories(directory.data))
    except ImageCorrupt:
        # Damage outside the picture does not matter to it.
        below = False
    if below:
        raise UnsupportedFormat(_RAW_FILE)


def _read_directory(data: bytes, order: str, form: _Form, at: int) -> tuple[Directory, int]:
    """Return the directory at a position, and the position of the next one."""
    (count,) = _unpack(data, order + form.count, at)
    start = at + struct.calcsize(form.count)
    size = struct.calcsize("<" + form.entry)
    end = start + count * size
    # The position of the next directory follows; some writers omit it in the last one.
    if count > _MAX_ENTRIES or end > len(data):
        raise ImageCorrupt
    fields: dict[int, Field] = {}
    entries = struct.iter_unpack(order + form.entry, memoryview(data)[start:end])
    for number, (tag, kind, values, offset) in enumerate(entries):
        room = struct.calcsize(form.offset)
        is_inside = values * _SIZES.get(kind, 1) <= room
        where = start + (number + 1) * size - room if is_inside else offset
        fields.setdefault(tag, Field(kind=kind, count=values, at=where))
    is_last = end + struct.calcsize(form.offset) > len(data)
    following = 0 if is_last else _unpack(data, order + form.offset, end)[0]
    return Directory(data=data, order=order, fields=fields), following


def _unpack(data: bytes, form: str, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except (struct.error, OverflowError) as exc:
        raise ImageCorrupt from exc
