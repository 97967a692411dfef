"""Write points as PLY, binary and little-endian (Greg Turk, The PLY Polygon File Format, 1994)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.pipeline.photo import Floats, Pixels

_POINT = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])

_PROPERTIES = (
    *(f"property float {axis}" for axis in "xyz"),
    *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
)


def encode_ply(positions: Floats, colours: Pixels, comments: Sequence[str]) -> bytes:
    """Write n x 3 positions and their n x 3 colours. Each comment is one line of ASCII."""
    points = np.empty(len(positions), _POINT)
    points["place"], points["colour"] = positions, colours
    lines = ("ply", "format binary_little_endian 1.0", *(f"comment {each}" for each in comments))
    header = "\n".join((*lines, f"element vertex {len(points)}", *_PROPERTIES, "end_header\n"))
    return b"".join((header.encode("ascii"), points.view(np.uint8).data))
