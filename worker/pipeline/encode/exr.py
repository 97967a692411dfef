"""Write OpenEXR: one float32 channel, scan lines from the top, ZIP compression.

Format: the Academy Software Foundation's "OpenEXR File Layout", and "Technical Introduction to OpenEXR" for
the meaning of the standard attributes. A file holds its attributes, a table of where each chunk of 16 rows
begins, and the chunks.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from worker.pipeline.encode.deflate import deflate_fast
from worker.pipeline.photo import Floats

_MAGIC_AND_VERSION = struct.pack("<II", 20000630, 2)
_FLOAT, _ZIP, _INCREASING_Y = 2, 3, 0

#: Rows of a chunk under ZIP compression.
_CHUNK_ROWS = 16

#: A reader takes a chunk of its uncompressed size as uncompressed. The low bits of interpolated values are
#: noise, which deflate may spend 200 ms for 12 megapixels on and save nothing. So one chunk in so many tells
#: whether the others are worth it.
_PROBE_EVERY = 8
_WORTH = 0.75


def encode_exr(
    strips: Iterable[Floats], shape: tuple[int, int], channel: str, attributes: Mapping[str, str]
) -> bytes:
    """Write strips of H x W, each valid until the next, with further attributes of at most 31 letters."""
    height, width = shape
    header = _header(height, width, channel, attributes)
    count = -(-height // _CHUNK_ROWS)
    file, offsets = io.BytesIO(), []
    file.write(header + bytes(8 * count))
    for number, chunk in enumerate(_chunks(_blocks(strips))):
        offsets.append(file.tell())
        file.write(struct.pack("<iI", number * _CHUNK_ROWS, len(chunk)))
        file.write(chunk)
    file.seek(len(header))
    file.write(struct.pack(f"<{count}Q", *offsets))
    return file.getvalue()


def _header(height: int, width: int, channel: str, attributes: Mapping[str, str]) -> bytes:
    # Name, type, linear or not, reserved, and sampling in x and y; a zero ends the list.
    channels = channel.encode() + b"\0" + struct.pack("<iB3xii", _FLOAT, 0, 1, 1) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    parts = [
        _attribute("channels", "chlist", channels),
        _attribute("compression", "compression", bytes((_ZIP,))),
        _attribute("dataWindow", "box2i", window),
        _attribute("displayWindow", "box2i", window),
        _attribute("lineOrder", "lineOrder", bytes((_INCREASING_Y,))),
        _attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
        _attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        _attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
        *(_attribute(name, "string", text.encode()) for name, text in attributes.items()),
    ]
    return _MAGIC_AND_VERSION + b"".join(parts) + b"\0"


def _attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def _blocks(strips: Iterable[Floats]) -> Iterator[Floats]:
    """Cut and join strips to blocks of 16 rows, each valid until the next; the last may have fewer."""
    block = np.empty((0, 0), np.float32)
    filled = 0
    for strip in strips:
        if not block.size:
            block = np.empty((_CHUNK_ROWS, strip.shape[1]), np.float32)
        at = 0
        while at < len(strip):
            taken = min(_CHUNK_ROWS - filled, len(strip) - at)
            block[filled : filled + taken] = strip[at : at + taken]
            at, filled = at + taken, (filled + taken) % _CHUNK_ROWS
            if not filled:
                yield block
    if filled:
        yield block[:filled]


def _chunks(blocks: Iterable[Floats]) -> Iterator[bytes]:
    worth = True
    for number, block in enumerate(blocks):
        raw = block.astype("<f4", copy=False).tobytes()
        if not worth and number % _PROBE_EVERY:
            yield raw
            continue
        packed = deflate_fast(_predict(raw))
        worth = len(packed) < _WORTH * len(raw)
        yield packed if len(packed) < len(raw) else raw


def _predict(raw: bytes) -> memoryview:
    """Return what ZIP compression deflates: bytes of even places, then of odd ones, as differences + 128."""
    parted = np.frombuffer(raw, np.uint8).reshape(-1, 2).T.ravel()
    differences = np.empty_like(parted)
    differences[0] = parted[0]
    np.subtract(parted[1:], parted[:-1], out=differences[1:])
    differences[1:] += 128
    return differences.data
