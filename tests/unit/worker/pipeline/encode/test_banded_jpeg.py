"""JPEGs joined from bands, read by other libraries."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]  # It ships stubs but no py.typed marker.
from PIL import Image, JpegImagePlugin

from shared.errors import ImageTooLarge
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.encode.files import encode_jpeg
from worker.pipeline.photo import Pixels

#: Heights for one band, for an odd end, and for more bands than restart markers have numbers.
SIZES = [(1, 1), (15, 40), (128, 64), (129, 65), (255, 3), (1161, 33), (2000, 16)]


def planes(height: int, width: int) -> tuple[Pixels, Pixels, Pixels]:
    """Make planes for a picture of this size; Y has an even size."""
    random = np.random.default_rng(height * width)
    half = -(-height // 2), -(-width // 2)
    even = 2 * half[0], 2 * half[1]
    # Noise on a ramp gives every kind of block, often different from the one before.
    ramp = np.linspace(0, 200, even[0] * even[1]).reshape(even)
    luma = (ramp + random.integers(0, 55, even)).astype(np.uint8)
    blue, red = (random.integers(0, 256, half, np.uint8) for _ in range(2))
    return luma, blue, red


def encode_in_bands(size: tuple[int, int], rows: int) -> bytes:
    luma, blue, red = planes(*size)
    jpeg = BandedJpeg(*size, rows)
    for top in range(0, luma.shape[0], rows):
        half = slice(top // 2, (top + rows) // 2)
        jpeg.add(luma[top : top + rows], blue[half], red[half])
    return jpeg.finish()


def open_with_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def open_with_opencv(data: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [16, 128])
def test_the_pixels_are_those_of_a_jpeg_encoded_at_once(size: tuple[int, int], rows: int) -> None:
    whole = simplejpeg.encode_jpeg_yuv_planes(*planes(*size), quality=95)
    banded = encode_in_bands(size, rows)

    assert open_with_pillow(banded).shape == (*size, 3)
    for read in (open_with_pillow, open_with_opencv):
        assert np.array_equal(read(banded), read(whole)[: size[0], : size[1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", ["420", "444"])
def test_rgb_in_bands_has_the_pixels_and_the_subsampling_of_a_jpeg_encoded_at_once(
    size: tuple[int, int], subsampling: str
) -> None:
    picture = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)
    jpeg = BandedJpeg(*size, 128, subsampling)
    for top in range(0, size[0], 128):
        jpeg.add_rgb(picture[top : top + 128])
    banded, whole = jpeg.finish(), encode_jpeg(picture, subsampling)

    for read in (open_with_pillow, open_with_opencv):
        assert np.array_equal(read(banded), read(whole))
    with Image.open(io.BytesIO(banded)) as image:
        # Pillow's numbers for 4:4:4 and 4:2:0.
        assert JpegImagePlugin.get_sampling(image) == {"444": 0, "420": 2}[subsampling]


@pytest.mark.parametrize("size", SIZES)
def test_a_strict_reader_gives_no_warning(size: tuple[int, int]) -> None:
    pixels = simplejpeg.decode_jpeg(encode_in_bands(size, 128), strict=True)

    assert pixels.shape == (*size, 3)


@pytest.mark.parametrize("size", SIZES)
def test_bands_of_rgb_have_the_pixels_of_a_jpeg_encoded_at_once(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    jpeg = BandedJpeg(*size, 32)
    for top in range(0, size[0], 32):
        jpeg.add_rgb(picture[top : top + 32])

    assert np.array_equal(open_with_pillow(jpeg.finish()), open_with_pillow(encode_jpeg(picture)))


def test_it_is_hardly_larger_than_a_jpeg_encoded_at_once() -> None:
    whole = simplejpeg.encode_jpeg_yuv_planes(*planes(2000, 300), quality=95)

    assert len(encode_in_bands((2000, 300), 128)) < len(whole) + 300


@pytest.mark.parametrize("size", [(65_501, 20), (20, 65_501)])
def test_a_picture_larger_than_a_jpeg_may_be_is_refused_with_a_remedy(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge, match="png"):
        BandedJpeg(*size, 128)


def test_the_widest_picture_can_be_read() -> None:
    assert open_with_pillow(encode_in_bands((272, 65_500), 128)).shape == (272, 65_500, 3)
