"""The albums of the benchmarks."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.album import CLASSES, AlbumPhoto, encode, make_album, make_photo


def album(size_class: str) -> list[AlbumPhoto]:
    return list(make_album(3, classes=(size_class,)))


@pytest.mark.parametrize("size_class", ["vga", "3mp"])
def test_photos_have_the_sizes_of_their_class(size_class: str) -> None:
    sizes = [Image.open(io.BytesIO(picture.data)).size for picture in album(size_class)]

    assert sizes == [(width, height) for height, width in CLASSES[size_class]]


def test_the_same_seed_gives_the_same_album() -> None:
    assert album("vga") == album("vga")
    assert album("vga") != list(make_album(3, classes=("vga",), seed=1))


def test_a_photo_has_the_noise_of_a_sensor() -> None:
    gray = np.full((40, 60, 3), 128, np.uint8)
    photo = make_photo(gray, 300, 400, np.random.default_rng(0))

    assert photo.shape == (300, 400, 3)
    assert 2 < photo.std() < 8
    assert photo.mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF"])
def test_every_format_of_the_mixed_album_can_be_written(file_format: str) -> None:
    data = encode(np.full((48, 64, 3), 90, np.uint8), file_format)

    assert len(data) > 50
