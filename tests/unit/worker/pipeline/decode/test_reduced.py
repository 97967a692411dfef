"""Large PNG, WebP and HEIF at a reduced size: the same picture as from Pillow, and the same errors."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageCorrupt
from tests.unit.worker.pipeline.pictures import LIMITS, lay, save, texture
from tests.unit.worker.pipeline.pictures import scene as four_colours
from worker.model.preprocess import network_size
from worker.pipeline.decode.decode import decode
from worker.pipeline.photo import Photo

SIZES = [(2003, 3001), (2048, 2048), (4096, 1000), (2050, 2006), (2002, 2999)]


#: What each format is written with: these pictures are large, and nobody keeps them.
FAST: dict[str, dict[str, object]] = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}}


@cache
def scene(height: int = 2003, width: int = 3001) -> NDArray[np.uint8]:
    picture = texture(height, width)
    picture[: height // 2, : width // 3] = (250, 40, 10)
    picture.flags.writeable = False
    return picture


def encode(picture: NDArray[np.uint8], file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **FAST[file_format] | options)
    return file.getvalue()


@cache
def encoded_scene(file_format: str) -> bytes:
    return encode(scene(), file_format)


def least(height: int, width: int) -> tuple[int, int]:
    network = network_size(height, width)
    return 2 * network[0], 2 * network[1]


def decoded(data: bytes) -> Photo:
    return decode(data, LIMITS, least_size=least)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_a_reduced_picture_is_averaged_over_squares(size: tuple[int, int], file_format: str) -> None:
    picture = scene(*size)
    photo = decoded(encode(picture, file_format, **{"lossless": True} if file_format == "WEBP" else {}))
    by = round(size[0] / photo.rgb.shape[0])
    expected = np.asarray(Image.fromarray(picture).reduce(by)).astype(int)

    assert (photo.height, photo.width) == size
    assert by in (2, 4, 8)
    assert np.abs(photo.rgb - expected).mean() < 1


def test_a_heif_is_upright_and_averaged_at_once() -> None:
    picture = four_colours(2000, 2048)
    exif = Image.Exif()
    exif[274] = 6
    data = save(lay(picture, 6), "HEIF", exif=exif.tobytes(), enc_params={"preset": "ultrafast"})

    reduced, whole = decoded(data), decode(data, LIMITS)

    assert (reduced.height, reduced.width, reduced.orientation) == (2000, 2048, 6)
    assert reduced.rgb.shape == (1000, 1024, 3)
    assert np.abs(whole.rgb.astype(int) - picture).mean() < 2
    assert np.abs(reduced.rgb - np.asarray(Image.fromarray(whole.rgb).reduce(2)).astype(int)).max() <= 1


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_stops_early_is_refused(file_format: str, share: float) -> None:
    data = encoded_scene(file_format)

    with pytest.raises(ImageCorrupt):
        decoded(data[: int(share * len(data))])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_png_with_a_flipped_bit_is_refused(share: float) -> None:
    data = bytearray(encoded_scene("PNG"))
    data[int(share * len(data))] ^= 0x10

    with pytest.raises(ImageCorrupt):
        decoded(bytes(data))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: bytes, height: int, width: int, *, level: int = 1) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows, level)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("missing", [1, 3001, 100_000])
def test_a_png_with_too_few_rows_is_refused(missing: int) -> None:
    rows = bytes((1 + 3 * 3000) * 2000 - missing)

    with pytest.raises(ImageCorrupt):
        decoded(png(rows, 2000, 3000))


def test_rows_with_a_filter_that_does_not_exist_are_refused() -> None:
    rows = bytearray((1 + 3 * 3000) * 2000)
    rows[(1 + 3 * 3000) * 1500] = 9

    with pytest.raises(ImageCorrupt):
        decoded(png(bytes(rows), 2000, 3000))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_an_orientation_is_applied(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    photo = decoded(encode(scene(), file_format, exif=exif))
    upright = (3001, 2003) if orientation >= 5 else (2003, 3001)
    # The coloured corner, stored at the top left, is at the top right, and so on.
    red = {1: (0, 0), 3: (-1, -1), 6: (0, -1), 8: (-1, 0)}[orientation]

    assert (photo.height, photo.width, photo.orientation) == (*upright, orientation)
    assert np.abs(photo.rgb[red].astype(int) - (250, 40, 10)).max() < 12


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA"])
def test_other_kinds_of_png_are_reduced_too(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(scene()).convert(mode).save(file, "PNG", compress_level=1)
    photo = decoded(file.getvalue())

    assert (photo.height, photo.width) == (2003, 3001)
    assert photo.rgb.shape[2] == 3
