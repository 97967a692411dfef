"""Write Photoshop documents: RGB of 8 bits, layers of their own boxes, and the picture that they make.

Format: "Adobe Photoshop File Formats Specification" (November 2019). Rows are compressed by PackBits, which
every reader knows (Apple Technical Note TN1023).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageTooLarge
from worker.pipeline.photo import Pixels

#: The format's own bounds on a side in pixels, and on a file in bytes.
PSD_MAX_SIDE = 30_000
PSD_MAX_BYTES = 2 * 10**9

#: What each channel of a layer is called.
ALPHA, RED, GREEN, BLUE = -1, 0, 1, 2

_RGB_MODE = 3
_RLE = 1

#: Flags of a layer: the second bit hides it, the fourth says that the fifth is in use.
_SHOWN, _HIDDEN = 0x08, 0x0A

#: Rows of a photo that are packed alike.
_ALIKE = 32

#: The most bytes that one packet of PackBits stands for.
_PACKET = 128


@dataclass(kw_only=True)
class Plane:
    """A channel's rows, packed."""

    #: The bytes of each row.
    lengths: list[NDArray[np.int64]] = field(default_factory=list)
    rows: list[memoryview] = field(default_factory=list)

    def add(self, rows: Pixels) -> None:
        """Add the next rows of a photo, h x w."""
        for top in range(0, len(rows), _ALIKE):
            self._add(*pack_rows(rows[top : top + _ALIKE]))

    def add_runs(self, rows: Pixels) -> None:
        """Add the next rows, h x w, of a picture with many equal pixels in a row."""
        self._add(*pack_runs(rows))

    def _add(self, lengths: NDArray[np.int64], data: memoryview) -> None:
        self.lengths.append(lengths)
        self.rows.append(data)

    @property
    def table(self) -> bytes:
        return np.concatenate(self.lengths).astype(">u2").tobytes()

    @property
    def size(self) -> int:
        return 2 + len(self.table) + sum(map(len, self.rows))


@dataclass(frozen=True, kw_only=True)
class PsdLayer:
    """A layer: its channels cover its box, outside of which it is transparent."""

    name: str
    #: Top, left, bottom and right in pixels.
    box: tuple[int, int, int, int]
    shown: bool = True
    #: Planes by ALPHA, RED, GREEN and BLUE; without ALPHA it is opaque.
    planes: dict[int, Plane]


def check_psd_size(height: int, width: int) -> None:
    """Raise ImageTooLarge if a side is too long for a PSD."""
    if max(height, width) > PSD_MAX_SIDE:
        raise ImageTooLarge(
            f"A PSD has at most {PSD_MAX_SIDE:,} pixels a side; ask for layers.format=zip for this picture "
            f"of {width:,} x {height:,}."
        )


def encode_psd(shape: tuple[int, int], layers: Sequence[PsdLayer], merged: Sequence[Plane]) -> bytes:
    """Return a document of height x width with layers, the lowest first, and their merged picture's R, G, B.

    Raises ImageTooLarge if it has more bytes than a PSD may.
    """
    check_psd_size(*shape)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, len(merged), *shape, 8, _RGB_MODE)
    tables = (plane.table for plane in merged)
    # After the head come no colour table and no resources.
    parts: list[bytes | memoryview] = [
        head,
        bytes(8),
        *_layer_parts(layers),
        struct.pack(">H", _RLE),
        *tables,
    ]
    parts += (rows for plane in merged for rows in plane.rows)
    if sum(map(len, parts)) > PSD_MAX_BYTES:
        raise ImageTooLarge("A PSD has at most 2 GB; ask for layers.format=zip for this picture.")
    return b"".join(parts)


def _layer_parts(layers: Sequence[PsdLayer]) -> Iterator[bytes | memoryview]:
    """Yield the section of layers: all records, then all pixels."""
    records = b"".join(_record(layer) for layer in layers)
    pixels = sum(plane.size for layer in layers for plane in layer.planes.values())
    size = 2 + len(records) + pixels
    padding = -size % 4
    # The lengths of the section and of its first part; after that part comes an empty one, of masks.
    yield struct.pack(">IIh", 4 + size + padding + 4, size + padding, len(layers))
    yield records
    for layer in layers:
        for plane in layer.planes.values():
            yield struct.pack(">H", _RLE) + plane.table
            yield from plane.rows
    yield bytes(padding + 4)


def _record(layer: PsdLayer) -> bytes:
    planes = b"".join(struct.pack(">hI", channel, plane.size) for channel, plane in layer.planes.items())
    name = layer.name.encode("ascii")
    name = bytes((len(name),)) + name
    name += bytes(-len(name) % 4)
    # No mask, no blending ranges.
    extra = bytes(8) + name
    flags = _SHOWN if layer.shown else _HIDDEN
    return b"".join(
        (
            struct.pack(">4iH", *layer.box, len(layer.planes)),
            planes,
            struct.pack(">4s4s4BI", b"8BIM", b"norm", 255, 0, flags, 0, len(extra)),
            extra,
        )
    )


def pack_runs(rows: Pixels) -> tuple[NDArray[np.int64], memoryview]:
    """Pack rows, h x w, as runs of equal bytes; return the bytes of each row, and all rows.

    A run of one byte is a literal of one byte: two bytes, like any other run.
    """
    height, width = rows.shape
    starts = np.empty(rows.shape, np.bool_)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=starts[:, 1:])
    starts[:, ::_PACKET] = True
    at = np.flatnonzero(starts)
    packets = np.empty((at.size, 2), np.uint8)
    # 1 - n in two's complement stands for n equal bytes; 0 for one.
    packets[:, 0] = (257 - np.diff(at, append=rows.size)) & 255
    packets[:, 1] = rows.reshape(-1)[at]
    firsts = np.searchsorted(at, np.arange(height + 1) * width)
    return 2 * np.diff(firsts), packets.reshape(-1).data


def pack_rows(rows: Pixels) -> tuple[NDArray[np.int64], memoryview]:
    """Pack rows, h x w, in blocks of 128 bytes: runs where all rows have one value only, else literals.

    A photo has few short runs. All rows are packed alike, which takes hardly longer than to copy them.
    """
    height, width = rows.shape
    groups = [*_groups(_are_runs(rows))]
    sizes = [
        2 * (end - first) if runs else min(end * _PACKET, width) - first * _PACKET + end - first
        for first, end, runs in groups
    ]
    packed = np.empty((height, sum(sizes)), np.uint8)
    at = 0
    for (first, end, runs), size in zip(groups, sizes, strict=True):
        columns = rows[:, first * _PACKET : end * _PACKET]
        (_write_runs if runs else _write_literals)(columns, packed[:, at : at + size])
        at += size
    return np.full(height, packed.shape[1]), packed.reshape(-1).data


def _are_runs(rows: Pixels) -> list[bool]:
    """Return which blocks have one value only."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    firsts = np.arange(0, low.size, _PACKET)
    equal = np.minimum.reduceat(low, firsts) == np.maximum.reduceat(high, firsts)
    return [*map(bool, equal)]


def _groups(runs: list[bool]) -> Iterator[tuple[int, int, bool]]:
    """Yield stretches of blocks of one kind: first, end, and whether they are runs."""
    first = 0
    for kind, blocks in groupby(runs):
        end = first + len([*blocks])
        yield first, end, kind
        first = end


def _write_runs(columns: Pixels, into: Pixels) -> None:
    last = (columns.shape[1] - 1) % _PACKET + 1
    # 1 - n in two's complement stands for n equal bytes; 0 for one.
    into[:, 0::2] = 257 - _PACKET
    into[:, -2] = (257 - last) & 255
    into[:, 1::2] = columns[:, ::_PACKET]


def _write_literals(columns: Pixels, into: Pixels) -> None:
    height, width = columns.shape
    full, last = divmod(width, _PACKET)
    packets = into[:, : full * (1 + _PACKET)].reshape(height, full, 1 + _PACKET)
    packets[:, :, 0] = _PACKET - 1
    packets[:, :, 1:] = columns[:, : full * _PACKET].reshape(height, full, _PACKET)
    if last:
        into[:, -last - 1] = last - 1
        into[:, -last:] = columns[:, -last:]
