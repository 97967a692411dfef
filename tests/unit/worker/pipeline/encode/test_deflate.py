"""zlib can read the streams of every compressing library."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from worker.pipeline.encode.deflate import HAS_ISAL, make_deflater


@pytest.mark.parametrize(
    "isal", [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_ISAL, reason="isal is missing"))]
)
@pytest.mark.parametrize("strategy", [zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY])
@pytest.mark.parametrize("kind", ["smooth", "noise", "empty"])
def test_a_stream_made_in_strips_is_read_by_zlib(isal: bool, strategy: int, kind: str) -> None:
    rng = np.random.default_rng(2)
    smooth = np.repeat(np.arange(256, dtype=np.uint8), 4000)
    data = {"smooth": smooth, "noise": rng.integers(0, 256, 500_000, np.uint8), "empty": smooth[:0]}[kind]
    deflater = make_deflater(strategy, isal=isal)
    stream = b"".join(
        [deflater.compress(strip.data) for strip in np.array_split(data, 7)] + [deflater.flush()]
    )

    assert zlib.decompress(stream) == data.tobytes()
