"""Read the strips and tiles of a TIFF as arrays."""

from __future__ import annotations

import itertools
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

# It ships stubs but no py.typed marker.
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from shared.errors import ImageCorrupt
from worker.pipeline.decode.jpeg import decode_jpeg
from worker.pipeline.decode.jpeg_file import read_jpeg
from worker.pipeline.decode.tiff.directory import Directory, Tag
from worker.pipeline.decode.tiff.layout import (
    CCITT,
    FIXED,
    LIBTIFF,
    Compression,
    Layout,
    Photometric,
    Predictor,
    SampleKind,
    Samples,
)
from worker.pipeline.decode.tiff.libtiff import PART_BYTES, decompress
from worker.pipeline.photo import Pixels

#: The most memory that LZMA may take besides its output: its largest preset takes 65 MiB.
_LZMA_MEMORY = 100 * 2**20

#: Bytes handed to zlib at a time.
_PIECE_BYTES = 2**16

_LETTERS = {SampleKind.UNSIGNED: "u", SampleKind.SIGNED: "i", SampleKind.FLOAT: "f"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

#: In a JPEG: its start and end, its application segments, and comments.
_START, _END, _APPLICATION, _COMMENT = b"\xff\xd8", b"\xff\xd9", range(0xE0, 0xF0), 0xFE
#: Components of a CMYK JPEG.
_CMYK = 4

#: The most bytes of the tables that a picture's JPEGs share: 4 KB would suffice. Each strip gets a copy.
_MOST_TABLES = 2**16


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of a picture from one strip or tile."""

    top: int
    left: int
    #: The number of the plane if samples are planar, else 0.
    plane: int
    #: Rows x columns x samples, in native byte order, cut off at the picture's edges.
    values: NDArray[Any]


def read_blocks(page: Directory, layout: Layout) -> Iterator[Block]:
    """Yield all parts of a picture. Raises ImageCorrupt, and what the codecs raise for damaged data."""
    for index, first, unpacked in _unpack_all(page, layout):
        plane, inner = divmod(index, layout.in_plane)
        down, across = divmod(inner, layout.across)
        top, left = down * layout.rows + first, across * layout.columns
        if top >= layout.height:
            # Tiles have padding below the picture.
            continue
        values = _first_bytes(unpacked, layout.samples)[: layout.height - top, : layout.width - left]
        yield Block(top=top, left=left, plane=plane, values=values)


def _first_bytes(values: NDArray[Any], samples: Samples) -> NDArray[Any]:
    """Return samples of a fixed scale in 8 bits, and others unchanged."""
    if samples.photometric not in FIXED:
        return values
    return (values.view(f"u{values.itemsize}") >> 8 * (values.itemsize - 1)).astype(np.uint8)


def _unpack_all(page: Directory, layout: Layout) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield rows, columns x samples, with the number of their strip or tile and of their first row in it."""
    if layout.compression is Compression.JPEG:
        head = _jpeg_head(page, layout)
        for index in range(len(layout.offsets)):
            jpeg = head + _without_app_segments(bytes(_segment(page, layout, index)))
            yield index, 0, _unpack_jpeg(jpeg, layout, index)
        return
    for index, first, raw in (_through_libtiff if layout.compression in LIBTIFF else _expand)(page, layout):
        is_fax = layout.compression in CCITT
        yield index, first, raw[..., np.newaxis] if is_fax else _unpack(raw, layout, page.order)


def _segment(page: Directory, layout: Layout, index: int) -> memoryview:
    """Return a strip or tile as stored, but with the first bit of every byte as the highest."""
    start, size = int(layout.offsets[index]), int(layout.sizes[index])
    segment = memoryview(page.data)[start : start + size]
    return memoryview(bytes(segment).translate(_REVERSED)) if layout.is_reversed else segment


def _through_libtiff(page: Directory, layout: Layout) -> Iterator[tuple[int, int, Pixels]]:
    """Yield rows of every strip or tile as bytes, or as bits if it is a fax."""
    is_fax = layout.compression in CCITT
    most = max(1, PART_BYTES // layout.bytes_of(0))
    for start in range(0, len(layout.offsets), layout.in_plane):
        for first in range(start, start + layout.in_plane, most):
            indices = range(first, min(first + most, start + layout.in_plane))
            # Only the last strip of a plane may be shorter.
            parts = decompress(
                [bytes(_segment(page, layout, index)) for index in indices],
                layout.compression,
                width=layout.columns if is_fax else layout.row_bytes,
                rows=layout.rows,
                height=sum(layout.rows_of(index) for index in indices),
                bits=1 if is_fax else 8,
                fax_options=layout.fax_options,
            )
            for row, part in parts:
                for rows in np.split(part, range(layout.rows, len(part), layout.rows)):
                    yield first + row // layout.rows, row % layout.rows, rows
                    row += len(rows)


def _expand(page: Directory, layout: Layout) -> Iterator[tuple[int, int, Pixels]]:
    """Yield rows of every strip or tile, as bytes. Raises ImageCorrupt if some are missing."""
    expand = _EXPANDERS[layout.compression]
    at_once = max(1, PART_BYTES // layout.row_bytes)
    for index in range(len(layout.offsets)):
        rows = layout.rows_of(index)
        firsts = range(0, rows, at_once)
        sizes = [min(at_once, rows - first) * layout.row_bytes for first in firsts]
        for first, raw in zip(firsts, expand(_segment(page, layout, index), sizes), strict=True):
            yield index, first, np.frombuffer(raw, np.uint8).reshape(-1, layout.row_bytes)


def _split(stored: memoryview, sizes: list[int]) -> Iterator[memoryview]:
    ends = list(itertools.accumulate(sizes))
    return (stored[end - size : end] for size, end in zip(sizes, ends, strict=True))


def _inflate(packed: memoryview, sizes: list[int]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    # Work in pieces: zlib copies what it has not consumed at every call.
    pieces = (packed[at : at + _PIECE_BYTES] for at in range(0, len(packed), _PIECE_BYTES))
    for size in sizes:
        parts: list[bytes] = []
        while missing := size - sum(map(len, parts)):
            piece = inflater.unconsumed_tail or next(pieces, b"")
            parts.append(inflater.decompress(piece, missing))
            if not piece and not parts[-1]:
                raise ImageCorrupt
        yield b"".join(parts)
    # Reading past the last byte makes zlib compare the checksum.
    inflater.decompress(inflater.unconsumed_tail or next(pieces, b""), 1)


def _expand_lzma(packed: memoryview, sizes: list[int]) -> Iterator[bytes]:
    decompressor = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    waiting: memoryview | bytes = packed
    for size in sizes:
        # The decompressor keeps what it has not consumed.
        raw, waiting = decompressor.decompress(waiting, size), b""
        if len(raw) < size:
            raise ImageCorrupt
        yield raw
    if not decompressor.eof:
        decompressor.decompress(b"", 1)


_EXPANDERS: dict[Compression, Callable[[memoryview, list[int]], Iterator[bytes | memoryview]]] = {
    Compression.NONE: _split,
    Compression.DEFLATE: _inflate,
    Compression.OLD_DEFLATE: _inflate,
    Compression.LZMA: _expand_lzma,
}


def _unpack(raw: Pixels, layout: Layout, order: str) -> NDArray[Any]:
    """Return the samples in rows of bytes."""
    samples, columns = layout.samples, layout.columns
    shape = len(raw), columns, samples.in_segment
    if samples.bits not in (8, 16, 32, 64):
        return _unpack_bits(raw, samples.bits, columns * samples.in_segment).reshape(shape)
    if layout.predictor is Predictor.FLOAT:
        return _undo_float(raw, samples.bits // 8, shape)
    dtype = np.dtype(f"{_LETTERS[samples.kind]}{samples.bits // 8}")
    values = raw.view(order + dtype.str[1:]).reshape(shape).astype(dtype, copy=False)
    if layout.predictor is Predictor.HORIZONTAL:
        # For floats the differences are those of their bits, and all differences wrap around.
        whole = values.view(f"u{dtype.itemsize}")
        return np.add.accumulate(whole, axis=1, dtype=whole.dtype).view(dtype)
    return values


def _unpack_bits(raw: Pixels, bits: int, per_row: int) -> NDArray[Any]:
    """Return samples of up to 16 bits, packed without gaps; every row begins at a whole byte."""
    every_bit = np.unpackbits(raw, axis=1, count=per_row * bits)
    apart = np.packbits(every_bit.reshape(len(raw), per_row, bits), axis=2)
    # packbits pads with zeros at the lower end.
    filled = apart if bits <= 8 else apart.view(">u2")
    return (filled[..., 0] >> (8 * filled.itemsize - bits)).astype(np.uint8 if bits <= 8 else np.uint16)


def _undo_float(raw: Pixels, size: int, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Undo the predictor of TIFF Technical Note 3: a row holds all first bytes, then all second bytes ..."""
    rows, columns, count = shape
    differences = raw.reshape(rows, size * columns, count)
    planes = np.add.accumulate(differences, axis=1, dtype=np.uint8).reshape(rows, size, columns * count)
    packed = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{size}")
    return packed.astype(f"f{size}").reshape(shape)


def _jpeg_head(page: Directory, layout: Layout) -> bytes:
    """Return the start of a JPEG: Adobe's marker, which states its colour transform, and its tables."""
    is_ycc = page.number(Tag.PHOTOMETRIC, 0) == Photometric.YCBCR and not layout.samples.is_planar
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([is_ycc])
    tables = page.octets(Tag.JPEG_TABLES, _MOST_TABLES)
    return _START + adobe + _without_app_segments(tables)[: -len(_END)]


def _unpack_jpeg(jpeg: bytes, layout: Layout, index: int) -> NDArray[Any]:
    """Decode a strip or tile that is a JPEG, as strictly as a JPEG file."""
    file = read_jpeg(jpeg)
    frame = file.frame
    # Some writers cut tiles off at the picture's edge.
    down, across = divmod(index % layout.in_plane, layout.across)
    least = min(layout.rows, layout.height - down * layout.rows)
    narrowest = min(layout.columns, layout.width - across * layout.columns)
    if not (least <= frame.height <= layout.rows and narrowest <= frame.width <= layout.columns):
        raise ImageCorrupt
    count = len(frame.components)
    if count != layout.samples.in_segment:
        raise ImageCorrupt
    if count == _CMYK:
        return np.asarray(simplejpeg.decode_jpeg(jpeg, "CMYK"))
    return decode_jpeg(jpeg, file, by=1)[..., :count]


def _without_app_segments(jpeg: bytes) -> bytes:
    """Return a JPEG without its start marker and the application segments after it."""
    at = len(_START)
    while jpeg[at : at + 1] == b"\xff" and (jpeg[at + 1] in _APPLICATION or jpeg[at + 1] == _COMMENT):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[at:]
