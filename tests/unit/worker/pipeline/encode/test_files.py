"""Result files, read by other libraries."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from fathom.options import Colormap
from shared.errors import ImageTooLarge
from tests.unit.worker.pipeline.pictures import scene
from worker.pipeline.colour import colour_table
from worker.pipeline.encode.files import (
    encode_gray16_png,
    encode_indexed_png,
    encode_jpeg,
    encode_npy,
    encode_pfm,
)

SIZES = [(1, 1), (1, 300), (31, 7), (32, 8), (33, 9), (65, 129), (500, 333)]


def read_by_opencv(data: bytes, mode: int) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    assert image is not None
    return image


@pytest.mark.parametrize("size", SIZES)
def test_an_indexed_png_is_the_same_picture_in_every_reader(size: tuple[int, int]) -> None:
    indices = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    table = colour_table(Colormap.INFERNO)
    data = encode_indexed_png([indices], indices.shape, table)
    image = Image.open(io.BytesIO(data))

    assert (image.format, image.mode, image.size) == ("PNG", "P", size[::-1])
    assert (np.asarray(image) == indices).all()
    assert (np.asarray(image.convert("RGB")) == table[indices]).all()
    assert np.array_equal(read_by_opencv(data, cv2.IMREAD_COLOR)[..., ::-1], table[indices])


@pytest.mark.parametrize("size", SIZES)
def test_a_16_bit_png_is_the_same_in_every_reader(size: tuple[int, int]) -> None:
    words = np.random.default_rng(1).integers(0, 65536, size, np.uint16)
    data = encode_gray16_png([words[:3], words[3:]] if len(words) > 3 else [words], words.shape)
    image = Image.open(io.BytesIO(data))

    assert image.mode.startswith("I;16")
    assert (np.asarray(image) == words).all()
    assert np.array_equal(read_by_opencv(data, cv2.IMREAD_UNCHANGED), words)


def test_a_smooth_heatmap_is_much_smaller_than_its_pixels() -> None:
    ramp = np.tile(np.arange(2000) * 255 // 2000, (1500, 1)).astype(np.uint8)

    assert len(encode_indexed_png([ramp], ramp.shape, colour_table(Colormap.INFERNO))) < 30_000


def test_a_jpeg_keeps_its_colours_and_is_of_high_quality() -> None:
    image = JpegImageFile(io.BytesIO(encode_jpeg(scene())))

    assert (image.format, image.size) == ("JPEG", (128, 96))
    assert np.abs(np.asarray(image)[10, 10].astype(int) - (220, 20, 30)).max() <= 4
    assert max(image.quantization[0]) <= 12


def test_a_jpeg_larger_than_the_format_allows_is_refused_with_a_remedy() -> None:
    with pytest.raises(ImageTooLarge, match="png"):
        encode_jpeg(np.zeros((16, 65_501, 3), np.uint8))


def test_pfm_is_little_endian_and_bottom_to_top() -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    data = encode_pfm([values[3:], values[:3]], values.shape)
    kind, size, scale, body = data.split(b"\n", 3)

    assert (kind, size, float(scale)) == (b"Pf", b"3 4", -1.0)
    assert np.frombuffer(body, "<f4").tolist() == [9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]


def test_pfm_is_read_by_opencv() -> None:
    values = np.random.default_rng(1).random((20, 30), np.float32)
    data = encode_pfm([values[15:], values[:15]], values.shape)

    assert np.array_equal(np.squeeze(read_by_opencv(data, cv2.IMREAD_UNCHANGED)), values)


def test_npy_is_float32_and_needs_no_pickle() -> None:
    values = np.random.default_rng(1).random((20, 30), np.float32)
    data = encode_npy([values[:15], values[15:]], values.shape)
    loaded = np.load(io.BytesIO(data), allow_pickle=False)

    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, values)
