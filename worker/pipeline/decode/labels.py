"""Decode label pictures: a number for each pixel says which thing in the photo it belongs to."""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from fathom.photos.formats import HEAD_BYTES, Format, sniff_format
from shared.errors import ImageError, LabelsInvalid
from worker.pipeline.decode.png import GREY, PALETTE, Png, read_png
from worker.pipeline.decode.png_rows import Samples, decode_values
from worker.pipeline.photo import Limits


def decode_labels(data: bytes, height: int, width: int, limits: Limits) -> Samples:
    """Return the labels of a photo of height x width, uint8 or uint16, of the label picture's own size.

    It is a PNG, upright, of gray values or palette indices, of any size with the photo's aspect. Its own
    orientation, gamma and palette are ignored.

    Raises LabelsInvalid, which says what is wrong.
    """
    try:
        png = _read(data, limits)
        _check(png, height, width)
        return decode_values(png)
    except LabelsInvalid:
        raise
    except (ImageError, zlib.error, cv2.error) as exc:
        raise LabelsInvalid(f"The label picture cannot be read: {_reason(exc)}") from exc


def _read(data: bytes, limits: Limits) -> Png:
    limits.check_bytes(len(data))
    if sniff_format(data[:HEAD_BYTES]) is not Format.PNG:
        raise LabelsInvalid("The label picture is not a PNG.")
    png = read_png(data)
    # It may be smaller than a photo, but not larger.
    Limits(max_pixels=limits.max_pixels, min_side=1, max_bytes=limits.max_bytes).check_size(
        png.height, png.width
    )
    return png


def _check(png: Png, height: int, width: int) -> None:
    if png.colour not in (GREY, PALETTE):
        raise LabelsInvalid(
            "The label picture is in colour; labels are gray values or palette indices, one a pixel."
        )
    # Either side may have been rounded.
    if min(abs(png.width - png.height * width / height), abs(png.height - png.width * height / width)) > 1:
        raise LabelsInvalid(
            f"The label picture has {png.width} x {png.height} pixels, and the upright photo {width} x "
            f"{height}: both need the same aspect."
        )


def _reason(exc: Exception) -> str:
    return exc.message if isinstance(exc, ImageError) else "it is damaged or incomplete."


def resize_labels(labels: Samples, height: int, width: int) -> Samples:
    """Return labels at another size; each pixel takes the label at its middle."""
    if labels.shape == (height, width):
        return labels
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
