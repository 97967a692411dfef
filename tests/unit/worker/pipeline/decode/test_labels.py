"""Label pictures: their values as they are stored, or a clear refusal."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from shared.errors import LabelsInvalid
from tests.unit.worker.pipeline.pictures import LIMITS, save, texture
from tests.unit.worker.pipeline.png_writer import GREY, KINDS, PALETTE, samples, write
from worker.pipeline.decode.labels import decode_labels, resize_labels

#: Those with one value a pixel.
LABEL_KINDS = [kind for kind in KINDS if kind[0] in (GREY, PALETTE)]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), LABEL_KINDS)
def test_labels_are_the_values_as_they_are_stored(colour: int, depth: int, interlaced: bool):
    values = samples(37, 50, colour, depth)
    labels = decode_labels(write(values, colour, depth, interlaced=interlaced), 37, 50, LIMITS)

    assert labels.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(labels, values[..., 0])


@pytest.mark.parametrize("size", [(37, 50), (74, 100), (370, 500), (19, 25), (111, 151)])
def test_a_label_picture_may_have_any_size_of_the_photos_aspect(size: tuple[int, int]):
    labels = decode_labels(write(samples(*size, GREY, 8), GREY, 8), 370, 500, LIMITS)

    assert labels.shape == size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The label picture is not a PNG."),
        (b"no picture", "The label picture is not a PNG."),
        (save(texture(32, 48), "JPEG"), "The label picture is not a PNG."),
        (save(texture(32, 48), "PNG"), "The label picture is in colour"),
        (
            write(samples(32, 48, GREY, 8), GREY, 8)[:-40],
            "The label picture cannot be read: The file is damaged",
        ),
        (write(samples(48, 32, GREY, 8), GREY, 8), "has 32 x 48 pixels, and the upright photo 48 x 32"),
        (write(samples(32, 52, GREY, 8), GREY, 8), "both need the same aspect"),
    ],
)
def test_what_is_no_label_picture_is_refused_with_the_reason(data: bytes, reason: str):
    with pytest.raises(LabelsInvalid, match=re.escape(reason)):
        decode_labels(data, 32, 48, LIMITS)


def test_damaged_rows_are_refused():
    data = bytearray(write(samples(32, 48, GREY, 8), GREY, 8))
    at = data.index(b"IDAT") + 6
    data[at : at + 4] = b"\xff\xff\xff\xff"

    with pytest.raises(LabelsInvalid, match="cannot be read"):
        decode_labels(bytes(data), 32, 48, LIMITS)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, max_pixels=1000), "at most 1,000"),
        (replace(LIMITS, max_bytes=20), "more than 20 bytes"),
    ],
)
def test_a_label_picture_keeps_the_limits_of_a_photo(limits, reason: str):
    with pytest.raises(LabelsInvalid, match=reason):
        decode_labels(write(samples(32, 48, GREY, 8), GREY, 8), 32, 48, limits)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_are_resized_without_new_ones(dtype):
    labels = np.array([[1, 2], [3, 250]], dtype)

    assert resize_labels(labels, 4, 6).tolist() == [[1] * 3 + [2] * 3] * 2 + [[3] * 3 + [250] * 3] * 2
    assert resize_labels(labels.repeat(3, 0).repeat(3, 1), 2, 2).tolist() == labels.tolist()
