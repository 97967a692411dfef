"""Make HEICs with a depth image, as phones do. No library writes them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pillow_heif import from_pillow

URN = "urn:mpeg:hevc:2015:auxid:2"


def heic(
    photo: NDArray[np.uint8],
    depth: NDArray[np.uint8],
    *,
    turns: int = 0,
    turn_depth: bool = True,
    urn: str = URN,
) -> bytes:
    """Return a HEIC with a depth image. Its boxes turn it by `turns` x 90 degrees, anticlockwise."""
    file = from_pillow(Image.fromarray(photo))
    file.add_from_pillow(Image.fromarray(depth))
    out = io.BytesIO()
    file.save(out, quality=95, chroma=444)
    return _link(out.getvalue(), turns, turn_depth, urn)


def _link(data: bytes, turns: int, turn_depth: bool, urn: str) -> bytes:
    """Make the second picture of a HEIC the depth image of the first (ISO/IEC 23008-12, 6.6.2)."""
    boxes = dict(_boxes(data))
    meta = dict(_boxes(boxes["meta"][4:]))
    first, second = _pictures(meta["iinf"])
    properties = dict(_boxes(meta["iprp"]))
    auxiliary = len(list(_boxes(properties["ipco"]))) + 1
    properties["ipco"] += _box("auxC", bytes(4) + urn.encode() + b"\0") + _box("irot", bytes((turns,)))
    also = {second: [auxiliary]}
    if turns:
        also = {first: [auxiliary + 1], second: [auxiliary, auxiliary + 1] if turn_depth else [auxiliary]}
    properties["ipma"] = _associate(properties["ipma"], also)
    meta["iprp"] = b"".join(_box(kind, body) for kind, body in properties.items())
    meta["iref"] = bytes(4) + _box("auxl", struct.pack(">HHH", second, 1, first))
    grown = len(_join(meta)) - len(boxes["meta"][4:])
    meta["iloc"] = _shift(meta["iloc"], grown)
    boxes["meta"] = boxes["meta"][:4] + _join(meta)
    return _join(boxes)


def _join(boxes: dict[str, bytes]) -> bytes:
    return b"".join(_box(kind, body) for kind, body in boxes.items())


def _box(kind: str, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind.decode(), data[at + 8 : at + size]
        at += size


def _pictures(items: bytes) -> list[int]:
    assert items[0] == 0
    entries = [entry for _, entry in _boxes(items[6:])]
    return [int.from_bytes(entry[4:6]) for entry in entries if entry[8:12] == b"hvc1"]


def _associate(associations: bytes, also: dict[int, list[int]]) -> bytes:
    assert associations[:4] == bytes(4)
    out, at = associations[:8], 8
    for _ in range(int.from_bytes(associations[4:8])):
        item, count = struct.unpack_from(">HB", associations, at)
        added = also.get(item, [])
        out += struct.pack(">HB", item, count + len(added)) + associations[at + 3 : at + 3 + count]
        out += bytes(0x80 | each for each in added)
        at += 3 + count
    return out


def _shift(locations: bytes, by: int) -> bytes:
    """Move all items of a version 0 box whose offsets, lengths and base offsets have four bytes."""
    assert locations[:6] == b"\0\0\0\0\x44\x40"
    out, at = locations[:8], 8
    for _ in range(int.from_bytes(locations[6:8])):
        head, count = locations[at : at + 8], int.from_bytes(locations[at + 8 : at + 10])
        out += head + locations[at + 8 : at + 10]
        at += 10
        for _ in range(count):
            offset, length = struct.unpack_from(">II", locations, at)
            out += struct.pack(">II", offset + by, length)
            at += 8
    return out
