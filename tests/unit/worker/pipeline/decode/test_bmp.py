"""BMP with every header, layout and direction, with empty alpha, and with wrong offsets."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ImageCorrupt, ImageTooLarge, ImageTooSmall
from tests.unit.worker.pipeline.pictures import LIMITS
from worker.pipeline.decode.decode import decode

HEIGHT, WIDTH = 37, 51
#: Headers of 40 bytes and more, which begin alike.
SIZES = (40, 52, 56, 108, 124)

RGB, BIT_FIELDS, ALPHA_BIT_FIELDS = 0, 3, 6

#: The bits of a pixel, and the masks of red, green, blue and alpha.
LAYOUTS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "BGRX": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "BGRA": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "RGBX": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "RGBA": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "XBGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
    "ABGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
    "10 bits and 2 of alpha": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "11, 11 and 10 bits": (32, (0xFFE00000, 0x1FFC00, 0x3FF, 0)),
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "444": (16, (0xF00, 0xF0, 0xF, 0)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "5551": (16, (0xF800, 0x7C0, 0x3E, 1)),
}


def texture(alpha: int = 255) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(2).integers(0, 256, (5, 7, 4), np.uint8)
    picture = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:HEIGHT, :WIDTH]
    picture[..., 3] = alpha
    return picture


def fields(rgba: NDArray[np.uint8], masks: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a picture as bit fields, and their meaning as RGBA, 0 to 255."""
    values, meant = np.zeros(rgba.shape[:2], np.uint64), np.full(rgba.shape, 255.0)
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            most = mask >> shift
            level = np.rint(rgba[..., channel] * (most / 255)).astype(np.uint64)
            values |= level << np.uint64(shift)
            meant[..., channel] = level * (255 / most)
    return values, meant


def bmp(
    rows: NDArray[Any],
    bits: int,
    size: int,
    compression: int,
    masks: tuple[int, ...] = (),
    *,
    top_down: bool = False,
    offset: int | None = None,
    gap: int = 0,
    width: int = WIDTH,
) -> bytes:
    """Return a BMP of rows of numbers or bytes; `offset` is the claimed position of the rows."""
    packed = [row.tobytes() for row in (rows if top_down else rows[::-1])]
    body = b"".join(row + bytes(-len(row) % 4) for row in packed)
    height = -len(rows) if top_down else len(rows)
    header = struct.pack(
        "<IiiHHIIiiII", size, width, height, 1, bits, compression, len(body), 2835, 2835, 0, 0
    )
    header += struct.pack("<4I", *(*masks, 0, 0, 0, 0)[:4])
    behind = {BIT_FIELDS: 12, ALPHA_BIT_FIELDS: 16}.get(compression, 0)
    header = header[: 40 + behind] if size == 40 else header.ljust(size, b"\xee")
    begin = 14 + len(header) + gap
    head = struct.pack("<IHHI", begin + len(body), 0, 0, begin if offset is None else offset)
    return b"BM" + head + header + bytes(gap) + body


def bit_fields(
    layout: str, size: int = 124, *, alpha: int = 255, **options: Any
) -> tuple[bytes, NDArray[np.float64]]:
    bits, masks = LAYOUTS[layout]
    values, meant = fields(texture(alpha), masks)
    return bmp(values.astype(f"<u{bits // 8}"), bits, size, BIT_FIELDS, masks, **options), meant


def decoded(data: bytes, by: int = 1) -> NDArray[np.uint8]:
    return decode(data, LIMITS, least_size=lambda h, w: (h // by, w // by)).rgb


@pytest.mark.parametrize("top_down", [False, True], ids=["bottom up", "top down"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_bit_fields_has_its_colours(layout: str, size: int, top_down: bool) -> None:
    data, meant = bit_fields(layout, size, top_down=top_down)

    assert np.abs(decoded(data) - meant[..., :3]).max() <= 1


@pytest.mark.parametrize("top_down", [False, True], ids=["bottom up", "top down"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", ["BGRX", "BGRA", "555", "1555"])
def test_plain_pixels_have_their_colours_and_their_spare_bits_mean_nothing(
    layout: str, size: int, top_down: bool
) -> None:
    bits, masks = LAYOUTS[layout]
    values, meant = fields(texture(90), masks)
    data = bmp(values.astype(f"<u{bits // 8}"), bits, size, RGB, top_down=top_down)

    assert np.abs(decoded(data) - meant[..., :3]).max() <= 1


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("size", [56, 108, 124])
@pytest.mark.parametrize("layout", [name for name, (_, masks) in LAYOUTS.items() if masks[3]])
def test_alpha_that_is_zero_everywhere_is_ignored(layout: str, size: int, by: int) -> None:
    (clear, _), (opaque, _) = (bit_fields(layout, size, alpha=alpha) for alpha in (0, 255))

    assert (decoded(clear, by) == decoded(opaque, by)).all()


@pytest.mark.parametrize("layout", ["BGRA", "RGBA", "ABGR", "1555", "4444"])
@pytest.mark.parametrize("hole", [0, 255], ids=["a hole", "all but a hole"])
def test_transparent_pixels_are_white(layout: str, hole: int) -> None:
    bits, masks = LAYOUTS[layout]
    picture = texture(255 - hole)
    picture[:8, :8, 3] = hole
    values, meant = fields(picture, masks)
    rgb = decoded(bmp(values.astype(f"<u{bits // 8}"), bits, 124, BIT_FIELDS, masks))

    assert np.abs(rgb - np.where(picture[..., 3:] == 255, meant[..., :3], 255)).max() <= 1


def test_partial_alpha_is_composited_on_white() -> None:
    data, meant = bit_fields("BGRA", alpha=100)

    assert np.abs(decoded(data) - (meant[..., :3] * (100 / 255) + 155)).max() <= 1


def test_alpha_is_read_if_its_masks_follow_a_header_of_40_bytes() -> None:
    bits, masks = LAYOUTS["RGBA"]
    values, meant = fields(texture(0), masks)
    values[0] |= np.uint64(0xFF000000)
    rgb = decoded(bmp(values.astype("<u4"), bits, 40, ALPHA_BIT_FIELDS, masks))

    assert np.abs(rgb[0] - meant[0, :, :3]).max() <= 1
    assert (rgb[1:] == 255).all()


@pytest.mark.parametrize("layout", ["BGRX", "555"])
def test_empty_masks_mean_the_usual_layout(layout: str) -> None:
    bits, masks = LAYOUTS[layout]
    values, meant = fields(texture(), masks)
    data = bmp(values.astype(f"<u{bits // 8}"), bits, 108, BIT_FIELDS)

    assert np.abs(decoded(data) - meant[..., :3]).max() <= 1


@pytest.mark.parametrize("mask", [0xFF00FF, 0b101, 0x80000001])
def test_masks_with_gaps_are_damage(mask: int) -> None:
    data = bmp(np.zeros((HEIGHT, WIDTH), "<u4"), 32, 108, BIT_FIELDS, (mask, 0xFF00, 0xFF))

    with pytest.raises(ImageCorrupt):
        decoded(data)


@pytest.mark.parametrize("offset", [0, 1, 14, 53, 60, 100])
@pytest.mark.parametrize(("bits", "compression"), [(32, BIT_FIELDS), (32, RGB), (24, RGB), (16, RGB)])
def test_a_pixel_offset_inside_the_header_means_directly_after_it(
    bits: int, compression: int, offset: int
) -> None:
    rows = texture()[..., : bits // 8].reshape(HEIGHT, -1)
    masks = LAYOUTS["BGRX"][1] if compression else ()
    wrong, right = (bmp(rows, bits, 108, compression, masks, offset=where) for where in (offset, None))

    assert (decoded(wrong) == decoded(right)).all()


@pytest.mark.parametrize("gap", [1, 2, 500])
@pytest.mark.parametrize("compression", [BIT_FIELDS, RGB])
def test_pixels_may_begin_far_after_the_header(compression: int, gap: int) -> None:
    rows = texture().reshape(HEIGHT, -1)
    data = bmp(rows, 32, 124, compression, LAYOUTS["BGRX"][1] if compression else (), gap=gap)

    assert (decoded(data) == texture()[..., 2::-1]).all()


@pytest.mark.parametrize("place", [(0, 0), (138, 2**31), (2**32 - 1, 2**32 - 1)])
@pytest.mark.parametrize(("bits", "compression"), [(32, BIT_FIELDS), (24, RGB)])
def test_a_profile_outside_of_the_file_is_harmless(
    bits: int, compression: int, place: tuple[int, int]
) -> None:
    rows = texture()[..., : bits // 8].reshape(HEIGHT, -1)
    data = bytearray(bmp(rows, bits, 124, compression, LAYOUTS["BGRX"][1] if compression else ()))
    data[14 + 56 : 14 + 60] = b"DEBM"
    struct.pack_into("<II", data, 14 + 112, *place)

    assert (decoded(bytes(data)) == texture()[..., 2::-1]).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("layout", ["BGRA", "565"])
def test_missing_rows_are_damage(layout: str, share: float) -> None:
    data, _ = bit_fields(layout)

    with pytest.raises(ImageCorrupt):
        decoded(data[: int(share * len(data))])


@pytest.mark.parametrize(
    ("width", "height", "error"),
    [
        (60_000, 60_000, ImageTooLarge),
        (0, 20, ImageCorrupt),
        (-20, 20, ImageCorrupt),
        (15, 99, ImageTooSmall),
    ],
)
def test_bit_fields_of_an_impossible_size_are_refused(
    width: int, height: int, error: type[Exception]
) -> None:
    data = bytearray(bit_fields("BGRA")[0])
    struct.pack_into("<ii", data, 18, width, height)

    with pytest.raises(error):
        decoded(bytes(data))
