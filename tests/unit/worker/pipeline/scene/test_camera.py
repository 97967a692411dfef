from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.unit.worker.pipeline.pictures import save, scene
from worker.pipeline.scene.camera import Camera, camera_of, distances

#: A lens of a phone's main camera: 26 mm on film, whose diagonal is 43.27 mm.
LENGTH = 26


def with_lens(file_format: str, length: object = LENGTH) -> bytes:
    """Return a picture of 96 x 128 whose EXIF gives a focal length on 35 mm film."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = length
    return save(scene(), file_format, exif=exif.tobytes())


def test_a_camera_sees_its_field_of_view_along_the_longer_side():
    camera = Camera.with_fov(3000, 4000, 90)

    assert camera.focal == pytest.approx(2000)
    assert camera.fov == pytest.approx(90)


def test_inverse_distance_is_linear_in_nearness():
    z = distances(np.array([0, 0.5, 1], np.float32), 6)

    assert z == pytest.approx([6, 2 / (1 / 6 + 1), 1])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_the_focal_length_on_film_counts_along_the_diagonal(file_format: str):
    camera = camera_of(with_lens(file_format), 96, 128, 60)

    assert camera.focal == pytest.approx(LENGTH * hypot(96, 128) / hypot(24, 36))
    assert camera.fov == pytest.approx(67.3, abs=0.1)


def test_a_photo_of_the_shape_of_film_sees_what_the_film_sees():
    assert camera_of(with_lens("JPEG", 18), 2000, 3000, 60).fov == pytest.approx(90)
    assert camera_of(with_lens("JPEG", 18), 3000, 2000, 60).fov == pytest.approx(90)


@pytest.mark.parametrize("length", [0, 3, 2000])
def test_an_implausible_focal_length_does_not_count(length: int):
    assert camera_of(with_lens("JPEG", length), 96, 128, 45).fov == pytest.approx(45)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "BMP", "GIF"])
def test_without_exif_the_given_field_of_view_counts(file_format: str):
    assert camera_of(save(scene(), file_format), 96, 128, 45).fov == pytest.approx(45)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_damaged_metadata_is_no_error(file_format: str):
    data = with_lens(file_format)
    for cut in range(0, len(data), max(1, len(data) // 60)):
        spoilt = data[:cut] + b"\xff" * 7 + data[cut + 7 :]

        assert 5 <= camera_of(data[:cut], 96, 128, 45).fov <= 150
        assert 5 <= camera_of(spoilt, 96, 128, 45).fov <= 150
