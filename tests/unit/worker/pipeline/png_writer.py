"""Write PNG files of every kind, including those that Pillow cannot write and invalid ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

#: Every colour type with every allowed depth.
KINDS = (
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colour, depth) for colour in (RGB, GREY_ALPHA, RGB_ALPHA) for depth in (8, 16)),
)

#: The kind and the body of a chunk, and the error to add to its checksum.
Chunk = tuple[bytes, bytes, int]


def chunk(kind: bytes, body: bytes = b"", *, off: int = 0) -> Chunk:
    return kind, body, off


def join(chunks: Iterable[Chunk]) -> bytes:
    """Return a file of chunks."""
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ off)
        for kind, body, off in chunks
    )


def split(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a valid file."""
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield chunk(kind, data[at + 8 : at + 8 + length])
        at += 12 + length


def samples(height: int, width: int, colour: int, depth: int, seed: int = 3) -> NDArray[Any]:
    """Return random samples, H x W x channels, in blocks that stay visible after reducing."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2**depth, (-(-height // 8), -(-width // 8), CHANNELS[colour]))
    return np.kron(coarse, np.ones((8, 8, 1), int))[:height, :width]


def palette(colours: int, seed: int = 4) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, 3 * colours, np.uint8).tobytes()


def write(
    values: NDArray[Any],
    colour: int,
    depth: int,
    *,
    interlaced: bool = False,
    before: Iterable[Chunk] = (),
    after: Iterable[Chunk] = (),
) -> bytes:
    """Return a file of samples, H x W x channels, which uses every filter and several data chunks.

    A palette of all colours that the depth allows is added; `before` follows it.
    """
    body = zlib.compress(rows(values, depth, interlaced=interlaced), 1)
    size = len(body) // 4 + 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    colours = [chunk(b"PLTE", palette(2**depth))] if colour == PALETTE else []
    data = [chunk(b"IDAT", piece) for piece in pieces]
    head = chunk(b"IHDR", header(values.shape[0], values.shape[1], colour, depth, interlaced=interlaced))
    return join([head, *colours, *before, *data, *after, chunk(b"IEND")])


def header(height: int, width: int, colour: int, depth: int, *, interlaced: bool = False) -> bytes:
    return struct.pack(">II5B", width, height, depth, colour, 0, 0, interlaced)


def rows(values: NDArray[Any], depth: int, *, interlaced: bool = False) -> bytes:
    """Return the filtered rows of a picture, or of its seven passes."""
    starts = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    passes = [values[top::down, left::right] for left, top, right, down in starts]
    return b"".join(_filtered(part, depth) for part in (passes if interlaced else [values]) if part.size)


def _filtered(values: NDArray[Any], depth: int) -> bytes:
    packed = _packed(values.reshape(len(values), -1), depth)
    step = max(1, values.shape[2] * depth // 8)
    above = np.zeros_like(packed[0])
    lines = []
    for number, row in enumerate(packed):
        lines.append(
            bytes([number % 5]) + (row - _guess(row, above, step, number % 5)).astype(np.uint8).tobytes()
        )
        above = row
    return b"".join(lines)


def _packed(values: NDArray[Any], depth: int) -> NDArray[Any]:
    """Return rows of bytes, as integers that can be negative."""
    bits = (values[:, :, np.newaxis] >> np.arange(depth - 1, -1, -1) & 1).reshape(len(values), -1)
    return np.packbits(bits.astype(np.uint8), axis=1).astype(int)


def _guess(row: NDArray[Any], above: NDArray[Any], step: int, kind: int) -> NDArray[Any]:
    """Return the prediction of a filter (PNG, third edition, 9.2) for the bytes of a row."""
    left, corner = (np.concatenate([np.zeros(step, int), line[:-step]]) for line in (row, above))
    if kind < 4:
        guesses: list[NDArray[Any]] = [np.zeros_like(row), left, above, (left + above) // 2]
        return guesses[kind]
    near = np.abs(np.stack([above - corner, left - corner, left + above - 2 * corner]))
    nearest: NDArray[Any] = np.stack([left, above, corner])[near.argmin(axis=0), np.arange(len(row))]
    return nearest
