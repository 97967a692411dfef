"""Decode the pixels of any PNG, a strip at a time: zlib inflates, and OpenCV undoes the filters.

A PNG's filters work on bytes, whatever they mean. So each strip of rows is unfiltered as a small PNG of its
own, of a colour type whose pixels have as many bytes. OpenCV sees nothing of a file but whole strips.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageCorrupt, ImageTooLarge
from worker.pipeline.colour import colourise
from worker.pipeline.decode.pixels import BACKGROUND, on_white
from worker.pipeline.decode.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Png
from worker.pipeline.decode.reduced import in_strips, reduce_strips
from worker.pipeline.photo import Pixels

#: uint8 or uint16, H x W or H x W x channels.
Samples: TypeAlias = NDArray[Any]

#: Bytes of the rows decoded at a time: they stay in the cache.
_STRIP_BYTES = 2**20

#: The widest PNG that libpng reads.
_MOST_WIDE = 1_000_000

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

#: By bytes of a pixel, the depth and the colour type of a small PNG with such pixels.
_CARRIERS = {1: (8, 0), 2: (16, 0), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}

_LAST_FILTER = 4

#: The passes of an interlaced picture (Adam7): left, top, and their steps right and down.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)

#: How many inflated bytes after the last row may precede the end of the stream.
_MOST_EXCESS = 2**20


def decode_png(png: Png, *, by: int) -> Pixels:
    """Return the picture reduced `by` 1, 2, 4 or 8, as RGB on white, not yet upright.

    Raises ImageCorrupt or zlib.error if rows are damaged or missing.
    """
    rows = _Rows(png.image_data())
    if png.interlaced:
        strips = in_strips(_interlaced(png, rows))
    else:
        strips = _strips(png, rows, png.height, png.width)
    pixels = reduce_strips(strips, png.height, png.width, by)
    rows.finish()
    return pixels


def decode_values(png: Png) -> Samples:
    """Return the gray values or palette indices, H x W, as they are stored: uint8, or uint16 of 16 bits.

    Raises as `decode_png` does.
    """
    assert png.colour in (GREY, PALETTE), "Only these have one value a pixel."
    rows = _Rows(png.image_data())
    values = np.empty((png.height, png.width), np.uint16 if png.depth == 16 else np.uint8)
    if png.interlaced:
        _read_passes(values, rows, partial(_value_strips, png))
    else:
        _read_into(values, _value_strips(png, rows, *values.shape))
    rows.finish()
    return values


def _value_strips(png: Png, rows: _Rows, height: int, width: int) -> Iterator[Samples]:
    for samples in _unfiltered(png, rows, height, width):
        yield samples if png.depth == 16 else _split_bytes(samples, png.depth)[:, :width]


def _interlaced(png: Png, rows: _Rows) -> Pixels:
    """Return the whole picture of seven passes."""
    pixels = np.empty((png.height, png.width, 3), np.uint8)
    _read_passes(pixels, rows, partial(_strips, png))
    return pixels


def _read_passes(
    picture: Samples, rows: _Rows, strips: Callable[[_Rows, int, int], Iterator[Samples]]
) -> None:
    """Read a picture of seven passes."""
    for left, top, right, down in _PASSES:
        part = picture[top::down, left::right]
        if part.size:
            _read_into(part, strips(rows, part.shape[0], part.shape[1]))


def _read_into(part: Samples, strips: Iterator[Samples]) -> None:
    at = 0
    for strip in strips:
        part[at : at + len(strip)] = strip
        at += len(strip)


def _strips(png: Png, rows: _Rows, height: int, width: int) -> Iterator[Pixels]:
    """Yield the next rows as RGB on white; the height of every strip but the last is a multiple of 8."""
    table = _colour_table(png)
    for samples in _unfiltered(png, rows, height, width):
        if table is None:
            yield _to_rgb(samples, png)
        else:
            indices = _split_bytes(samples, png.depth)[:, :width]
            yield colourise(indices, table, np.empty((*indices.shape, 3), np.uint8))


def _unfiltered(png: Png, rows: _Rows, height: int, width: int) -> Iterator[Samples]:
    """Yield the next rows unfiltered, strip by strip.

    Each small PNG begins with the row above the strip, which the filters refer to; that row is then cut off.
    """
    bits = png.depth * _CHANNELS[png.colour]
    step = max(1, bits // 8)
    across = -(-width * bits // 8) // step
    if across > _MOST_WIDE:
        raise ImageTooLarge(f"The picture is {width} pixels wide; a PNG may have {_MOST_WIDE:,}.")
    line = 1 + across * step
    above, count = bytes(line), max(8, _STRIP_BYTES // line // 8 * 8)
    for top in range(0, height, count):
        body = rows.read(min(count, height - top) * line)
        if max(body[::line]) > _LAST_FILTER:
            raise ImageCorrupt
        samples = _decode(above + body, across, step)[1:]
        # Filter 0: the row as it is.
        above = b"\0" + samples[-1].astype(samples.dtype.newbyteorder(">")).tobytes()
        yield samples


def _decode(rows: bytes, across: int, step: int) -> Samples:
    """Unfilter rows of `across` pixels of `step` bytes each; return channels in the file's order."""
    height = len(rows) // (1 + across * step)
    file = _small_png(rows, height, across, step)
    samples = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.shape[:2] != (height, across):
        raise ImageCorrupt
    if samples.ndim == 3:
        swap = cv2.COLOR_BGR2RGB if samples.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return np.asarray(cv2.cvtColor(samples, swap, dst=samples))
    return np.asarray(samples)


def _small_png(rows: bytes, height: int, across: int, step: int) -> bytes:
    header = struct.pack(">II5B", across, height, *_CARRIERS[step], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))


def _colour_table(png: Png) -> Pixels | None:
    """Return 256 x 3 colours, on white, for a picture of indices or of few greys; None for others."""
    table = np.zeros((256, 3), np.uint8)
    if png.colour == PALETTE:
        colours = np.frombuffer(png.palette, np.uint8).reshape(-1, 1, 3)
        alpha = np.full(colours.shape[:2], 255, np.uint8)
        alpha[: len(png.transparency), 0] = list(png.transparency)
        table[: len(colours)] = on_white(colours, alpha)[:, 0]
        return table
    if png.colour != GREY or png.depth == 16 or (png.depth == 8 and not png.transparency):
        return None
    most = 2**png.depth - 1
    table[: most + 1] = np.linspace(0, 255, most + 1, dtype=np.uint8)[:, np.newaxis]
    if png.transparency:
        table[int.from_bytes(png.transparency) & most] = BACKGROUND
    return table


def _split_bytes(samples: Pixels, depth: int) -> Pixels:
    """Return samples of fewer than 8 bits, packed from the highest bit down, as one byte each."""
    if depth == 8:
        return samples
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    return _array(samples[:, :, np.newaxis] >> shifts & (2**depth - 1)).reshape(len(samples), -1)


def _to_rgb(samples: Samples, png: Png) -> Pixels:
    """Convert a strip without a colour table to RGB on white."""
    if png.colour == GREY_ALPHA:
        # Pixels of two bytes came as one 16-bit number, and those of four bytes (two for each 16-bit sample)
        # as RGBA.
        grey, alpha = (samples >> 8, samples & 255) if png.depth == 8 else (samples[..., 0], samples[..., 2])
        return on_white(_array(cv2.cvtColor(_array(grey), cv2.COLOR_GRAY2RGB)), _array(alpha))
    if png.transparency:
        _whiten(samples, png)
    pixels = _array(samples if png.depth == 8 else cv2.convertScaleAbs(samples, alpha=255 / 65535))
    if png.colour == GREY:
        return _array(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
    if png.colour == RGB_ALPHA:
        return on_white(
            _array(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)), _array(cv2.extractChannel(pixels, 3))
        )
    return pixels


def _whiten(samples: Samples, png: Png) -> None:
    """Make the one transparent colour white. It has 16 bits a channel; only the bits of the depth count."""
    most = 2**png.depth - 1
    colour = [value & most for (value,) in struct.iter_unpack(">H", png.transparency)]
    samples[cv2.inRange(samples, tuple(colour), tuple(colour)) > 0] = most


def _array(values: Any) -> Pixels:
    return np.asarray(values, dtype=np.uint8)


class _Rows:
    """Inflates the image data of a PNG piece by piece."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._inflater = zlib.decompressobj()
        self._pieces = pieces
        self._compressed: bytes | memoryview = b""

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises ImageCorrupt or zlib.error if there are fewer."""
        parts, missing = [], count
        while missing:
            parts.append(self._inflate(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def finish(self) -> None:
        """Read to the end, where zlib compares its checksum. Raises ImageCorrupt or zlib.error.

        Data after the last row are harmless; only their beginning is read.
        """
        left = _MOST_EXCESS
        while left and not self._inflater.eof:
            left -= len(self._inflate(left))

    def _inflate(self, most: int) -> bytes:
        if not len(self._compressed):
            self._compressed = self._next_piece()
        part = self._inflater.decompress(self._compressed, most)
        self._compressed = self._inflater.unconsumed_tail
        return part

    def _next_piece(self) -> memoryview:
        piece = next(self._pieces, None)
        if piece is None or self._inflater.eof:
            raise ImageCorrupt
        return piece
