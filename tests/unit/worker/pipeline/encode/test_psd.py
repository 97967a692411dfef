"""Documents that psd-tools and Pillow read back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from psd_tools import PSDImage

from shared.errors import ImageTooLarge
from worker.pipeline.encode.psd import (
    ALPHA,
    BLUE,
    GREEN,
    RED,
    Plane,
    PsdLayer,
    check_psd_size,
    encode_psd,
    pack_rows,
    pack_runs,
)
from worker.pipeline.photo import Pixels


def unpack(data: bytes) -> bytes:
    """Unpack a row as Apple's Technical Note TN1023 says."""
    found, at = bytearray(), 0
    while at < len(data):
        head = data[at]
        if head < 128:
            found += data[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            assert head > 128, "Nothing writes the packet that means nothing."
            found += data[at + 1 : at + 2] * (257 - head)
            at += 2
    return bytes(found)


def plane(rows: Pixels) -> Plane:
    made = Plane()
    made.add(rows)
    return made


def layer(name: str, rgba: Pixels, top: int, left: int, *, shown: bool = True) -> PsdLayer:
    box = top, left, top + rgba.shape[0], left + rgba.shape[1]
    planes = {ALPHA: Plane()} | {c: plane(rgba[..., c]) for c in (RED, GREEN, BLUE)}
    planes[ALPHA].add_runs(rgba[..., 3])
    return PsdLayer(name=name, box=box, shown=shown, planes=planes)


@given(st.integers(1, 700), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_packed_rows_unpack_to_the_same(width: int, height: int, seed: int, values: int):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, values, (height, width), np.uint8)
    first, end = sorted(rng.integers(0, width + 1, 2).tolist())
    rows[:, first:end] = rng.integers(0, 256, (height, 1))

    for pack in (pack_rows, pack_runs):
        lengths, data = pack(rows)
        ends = np.cumsum(lengths).tolist()
        assert ends[-1] == len(data)
        assert [unpack(bytes(data[a:b])) for a, b in zip([0, *ends[:-1]], ends, strict=True)] == [
            row.tobytes() for row in rows
        ]


def test_a_row_of_one_value_takes_two_bytes_for_each_128():
    lengths, _ = pack_rows(np.full((3, 1000), 7, np.uint8))

    assert lengths.tolist() == [16, 16, 16]


def test_a_row_of_noise_takes_one_byte_more_for_each_128():
    noise = np.random.default_rng(1).integers(0, 256, (3, 1000), np.uint8)
    lengths, _ = pack_rows(noise)

    assert lengths.tolist() == [1008, 1008, 1008]


@pytest.mark.parametrize("shape", [(1, 1), (40, 60), (41, 131), (200, 300)])
def test_a_document_reads_back_as_it_was_written(shape: tuple[int, int]):
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (*shape, 3), np.uint8)
    low = np.dstack([photo, np.full(shape, 255, np.uint8)])
    high = rng.integers(0, 256, (-(-shape[0] // 2), -(-shape[1] // 3), 4), np.uint8)
    hidden = PsdLayer(
        name="depth",
        box=(0, 0, *shape),
        shown=False,
        planes=dict.fromkeys((RED, GREEN, BLUE), plane(photo[..., 0])),
    )
    data = encode_psd(
        shape,
        [layer("1 far", low, 0, 0), layer("2 near", high, 0, shape[1] - high.shape[1]), hidden],
        [plane(photo[..., channel]) for channel in range(3)],
    )
    read = PSDImage.open(io.BytesIO(data))

    assert (read.size, read.depth, read.color_mode.name, read.channels) == (shape[::-1], 8, "RGB", 3)
    assert [(each.name, each.visible) for each in read] == [
        ("1 far", True),
        ("2 near", True),
        ("depth", False),
    ]
    assert [each.bbox for each in read] == [
        (0, 0, shape[1], shape[0]),
        (shape[1] - high.shape[1], 0, shape[1], high.shape[0]),
        (0, 0, shape[1], shape[0]),
    ]
    assert np.array_equal(np.asarray(read[1].topil()), high)
    assert np.array_equal(np.asarray(read[2].topil()), np.repeat(photo[..., :1], 3, axis=2))
    assert np.array_equal(np.asarray(read.topil()), photo)
    with Image.open(io.BytesIO(data)) as merged:
        assert merged.format == "PSD"
        assert np.array_equal(np.asarray(merged.convert("RGB")), photo)


@pytest.mark.parametrize("size", [(30_001, 20), (20, 30_001)])
def test_a_side_that_is_too_long_for_a_psd_is_refused(size: tuple[int, int]):
    with pytest.raises(ImageTooLarge, match=r"30,000 pixels a side; ask for layers\.format=zip"):
        check_psd_size(*size)


def test_a_side_may_have_30_000_pixels():
    photo = np.arange(16 * 30_000, dtype=np.uint32).astype(np.uint8).reshape(16, 30_000)
    data = encode_psd((16, 30_000), [], [plane(photo)] * 3)

    assert np.array_equal(np.asarray(PSDImage.open(io.BytesIO(data)).topil())[..., 1], photo)
