"""PNG of every colour type, depth, filter and size, interlaced or not, has the right pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageTooLarge
from tests.unit.worker.pipeline.pictures import LIMITS
from tests.unit.worker.pipeline.png_writer import (
    GREY,
    GREY_ALPHA,
    KINDS,
    PALETTE,
    RGB,
    RGB_ALPHA,
    chunk,
    header,
    join,
    palette,
    samples,
    split,
    write,
)
from worker.pipeline.decode.decode import decode

#: Neither a multiple of 8, nor enough rows for whole strips.
HEIGHT, WIDTH = 61, 83


def decoded(data: bytes, by: int = 1) -> NDArray[np.uint8]:
    return decode(data, LIMITS, least_size=lambda h, w: (h // by, w // by)).rgb


def colours(values: NDArray[Any], colour: int, depth: int) -> NDArray[np.float64]:
    """Return samples as RGB, 0 to 255, without their alpha."""
    if colour == PALETTE:
        table = np.frombuffer(palette(2**depth), np.uint8).reshape(-1, 3).astype(np.float64)
        return np.asarray(table[values[..., 0]])
    shown = values[..., :3] if colour in (RGB, RGB_ALPHA) else np.repeat(values[..., :1], 3, axis=2)
    return np.asarray(shown * (255 / (2**depth - 1)))


def on_white(values: NDArray[Any], colour: int, depth: int) -> NDArray[np.float64]:
    """Return samples as RGB; alpha is composited on white."""
    if colour not in (GREY_ALPHA, RGB_ALPHA):
        return colours(values, colour, depth)
    alpha = values[..., -1:] / (2**depth - 1)
    return np.asarray(colours(values, colour, depth) * alpha + 255 * (1 - alpha))


def averaged(picture: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    """Return the means of squares of `by` pixels; at the edges, the last row and column are repeated."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % by), (0, -width % by), (0, 0)), mode="edge")
    squares = padded.reshape(padded.shape[0] // by, by, padded.shape[1] // by, by, 3)
    return np.asarray(squares.mean(axis=(1, 3)))


@pytest.mark.parametrize("by", [1, 2, 8])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_has_its_pixels(colour: int, depth: int, interlaced: bool, by: int) -> None:
    values = samples(HEIGHT, WIDTH, colour, depth)
    rgb = decoded(write(values, colour, depth, interlaced=interlaced), by)

    expected = averaged(on_white(values, colour, depth), by)
    assert rgb.shape == expected.shape
    assert np.abs(rgb - expected).max() <= 1.5


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_pillow_reads_the_same_from_these_files(colour: int, depth: int, interlaced: bool) -> None:
    data = write(samples(HEIGHT, WIDTH, colour, depth), colour, depth, interlaced=interlaced)
    image = Image.open(io.BytesIO(data))
    opaque = (
        image.convert("RGB")
        if depth < 16 or colour != GREY
        else image.point(lambda v: v / 256).convert("RGB")
    )

    assert (
        np.abs(colours(samples(HEIGHT, WIDTH, colour, depth), colour, depth) - np.asarray(opaque)).max() <= 1
    )


@pytest.mark.parametrize("by", [1, 4])
@pytest.mark.parametrize(
    ("colour", "depth", "width"), [(RGB, 8, 18_000), (PALETTE, 8, 54_000), (RGB_ALPHA, 16, 6_800)]
)
def test_strips_join_where_they_meet(colour: int, depth: int, width: int, by: int) -> None:
    # The rows are so long that the first strip has 16 of them.
    values = np.tile(samples(21, 200, colour, depth), (1, width // 200, 1))
    rgb = decoded(write(values, colour, depth), by)

    expected = averaged(on_white(values, colour, depth), by)
    assert np.abs(rgb - expected).max() <= 1.5


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1), (1, 9), (8, 8)])
def test_passes_without_pixels_are_left_out(size: tuple[int, int]) -> None:
    values = samples(*size, RGB, 8)
    limits = type(LIMITS)(max_pixels=100, min_side=1, max_bytes=10**6)

    assert (decode(write(values, RGB, 8, interlaced=True), limits).rgb == values).all()


# --- transparency -------------------------------------------------------------------


def transparent(
    values: NDArray[Any], colour: int, depth: int, *, interlaced: bool = False, high: int = 0
) -> bytes:
    """Return a file in which the colour at the top left is transparent; `high` are bits beyond the depth."""
    body = struct.pack(f">{values.shape[2]}H", *(int(v) | high << depth for v in values[0, 0]))
    return write(values, colour, depth, interlaced=interlaced, before=[chunk(b"tRNS", body)])


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), [kind for kind in KINDS if kind[0] in (GREY, RGB)])
def test_one_transparent_colour_is_white(colour: int, depth: int, interlaced: bool, by: int) -> None:
    values = samples(HEIGHT, WIDTH, colour, depth)
    rgb = decoded(transparent(values, colour, depth, interlaced=interlaced), by)

    holes = (values == values[0, 0]).all(axis=2, keepdims=True)
    expected = averaged(np.where(holes, 255, colours(values, colour, depth)), by)
    assert holes.any()
    assert np.abs(rgb - expected).max() <= 1.5


@pytest.mark.parametrize("colour", [GREY, RGB])
def test_colours_that_differ_in_their_lower_bits_are_not_transparent(colour: int) -> None:
    values = np.full((20, 20, 3 if colour == RGB else 1), 0x1234)
    values[:, 10:, -1] = 0x1235
    rgb = decoded(transparent(values, colour, 16))

    assert (rgb[:, :10] == 255).all()
    assert (rgb[:, 10:] == 0x12).all()


@pytest.mark.parametrize(("colour", "depth"), [(GREY, 1), (GREY, 4), (GREY, 8), (RGB, 8)])
def test_bits_beyond_the_depth_are_ignored(colour: int, depth: int) -> None:
    values = samples(HEIGHT, WIDTH, colour, depth)
    plain, high = (decoded(transparent(values, colour, depth, high=bits)) for bits in (0, 0x55))

    assert (plain == high).all()


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("depth", [2, 8])
def test_colours_of_a_palette_may_be_partly_transparent(depth: int, count: int, by: int) -> None:
    values = samples(HEIGHT, WIDTH, PALETTE, 2)
    given = [0, 100, 255, 31][:count]
    data = write(values, PALETTE, depth, before=[chunk(b"tRNS", bytes(given))])

    alpha = np.array(given + [255] * (4 - count))[values] / 255
    expected = averaged(colours(values, PALETTE, depth) * alpha + 255 * (1 - alpha), by)
    assert np.abs(decoded(data, by) - expected).max() <= 1.5


@pytest.mark.parametrize("length", [0, 1, 3, 5, 7, 300])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_transparency_of_a_wrong_length_is_ignored(colour: int, depth: int, length: int) -> None:
    if colour == PALETTE and 0 < length <= 2**depth:
        length += 2**depth
    values = samples(24, 24, colour, depth)
    values[..., -1] = values[..., -1] | 1
    plain, odd = (
        write(values, colour, depth, before=before) for before in ([], [chunk(b"tRNS", bytes(length))])
    )

    assert (decoded(odd) == decoded(plain)).all()


def test_an_index_beyond_the_palette_is_black() -> None:
    values = samples(24, 24, PALETTE, 8) % 4
    chunks = split(write(values, PALETTE, 8))
    rgb = decoded(join(chunk(kind, body[:6] if kind == b"PLTE" else body) for kind, body, _ in chunks))

    assert (rgb[values[..., 0] >= 2] == 0).all()
    assert (rgb[values[..., 0] == 1] == list(palette(256)[3:6])).all()


def test_a_row_longer_than_libpng_reads_is_too_large() -> None:
    data = join([chunk(b"IHDR", header(16, 1_000_001, GREY, 8)), chunk(b"IDAT"), chunk(b"IEND")])

    with pytest.raises(ImageTooLarge, match="1000001 pixels wide"):
        decode(data, LIMITS)
