"""Decompress with Pillow's libtiff. It only decompresses, because Pillow may misread samples.

Strips and tiles go to Pillow as the strips of a small TIFF of their own, whose pixels are their bytes.
"""

from __future__ import annotations

import ctypes
import functools
import io
import itertools
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import TiffImagePlugin

from shared.errors import ImageCorrupt
from worker.pipeline.decode.tiff.directory import Tag
from worker.pipeline.photo import Pixels

#: Bytes decompressed at a time: from several strips or tiles, or from a part of one.
PART_BYTES = 2**20

_LONG = 4
_BLACK_IS_ZERO = 1

#: Bytes of the file header and of a directory without its entries, and bytes of one entry.
_HEAD_BYTES, _ENTRY_BYTES = 8 + 2 + 4, 12


def decompress(
    strips: Sequence[bytes],
    compression: int,
    *,
    width: int,
    rows: int,
    height: int,
    bits: int,
    fax_options: int,
) -> Iterator[tuple[int, Pixels]]:
    """Yield strips stacked on each other, height x width: their bytes, or bits if `bits` is 1.

    `rows` is the height of each but the last. They come in parts of PART_BYTES, each with the number of its
    first row, because Pillow copies its output twice. Raises ImageCorrupt, and what Pillow raises for damaged
    data.
    """
    _silence()
    fields = {
        Tag.WIDTH: width,
        Tag.HEIGHT: height,
        Tag.BITS: bits,
        Tag.COMPRESSION: compression,
        Tag.PHOTOMETRIC: _BLACK_IS_ZERO,
        Tag.ROWS_PER_STRIP: rows,
        Tag.T4_OPTIONS: fax_options,
    }
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(_small_tiff(fields, strips)))
    image.load()
    if image.size != (width, height):
        raise ImageCorrupt
    at_once = max(1, PART_BYTES // width)
    for top in range(0, height, at_once):
        part = image.crop((0, top, width, min(top + at_once, height)))
        yield top, np.asarray(part, np.uint8)


def _small_tiff(fields: Mapping[Tag, int], strips: Sequence[bytes]) -> bytes:
    """Return a TIFF: its directory, the offsets and sizes of its strips, and the strips."""
    count = len(strips)
    sizes = [len(strip) for strip in strips]
    tables = _HEAD_BYTES + _ENTRY_BYTES * (len(fields) + 2)
    offsets = [tables + 8 * count + before for before in itertools.accumulate(sizes[:-1], initial=0)]
    # A single number is stored in the entry itself.
    where = (offsets[0], sizes[0]) if count == 1 else (tables, tables + 4 * count)
    entries = {int(tag): (1, value) for tag, value in fields.items()}
    entries |= {Tag.STRIP_OFFSETS: (count, where[0]), Tag.STRIP_SIZES: (count, where[1])}
    packed = [struct.pack("<HHII", tag, _LONG, *entries[tag]) for tag in sorted(entries)]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    return b"".join([head, *packed, bytes(4), struct.pack(f"<{2 * count}I", *offsets, *sizes), *strips])


@functools.cache
def _silence() -> None:
    """Stop libtiff from writing to stderr about damage, if the library is found."""
    beside = Path(PIL.__file__).parent
    for found in (*beside.glob("../pillow.libs/libtiff*"), *beside.glob(".dylibs/libtiff*")):
        library = ctypes.CDLL(str(found.resolve()))
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
