"""Which way up a photo is: only its EXIF decides, or its container if that can rotate it.

XMP may state an orientation too (tiff:Orientation). Browsers ignore it, and a photo that is upright in an
album must not lie on its side in its depth map.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from pillow_heif.as_plugin import HeifImageFile

from worker.pipeline.decode.pixels import turn_upright

#: Where Pillow keeps XMP; if EXIF states no orientation, Pillow takes it from there.
_XMP = ("xmp", "XML:com.adobe.xmp")

#: Every error that Pillow and its plugins were seen to raise for a damaged file.
PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, that must still be applied; 1 if it cannot be read.

    Removes the picture's XMP.
    """
    for name in _XMP:
        image.info.pop(name, None)
    try:
        return valid_orientation(image.getexif().get(ExifTags.Base.Orientation, 1))
    except PILLOW_ERRORS:
        # Damaged metadata costs a picture its metadata, not its depth map.
        return 1


def orientation_in(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in a block of EXIF; 1 if it cannot be read."""
    image = Image.Image()
    image.info["exif"] = exif
    return orientation_of(image)


def orientation_of_heif(image: HeifImageFile) -> int:
    """Return the orientation of a HEIF's own boxes (irot and imir), which libheif applies.

    Call this before the pixels are decoded.
    """
    file = image._heif_file
    return orientation_of_boxes(file[image.tell()]._c_image.transformations if file is not None else ())


def orientation_of_boxes(boxes: Iterable[tuple[Any, ...]]) -> int:
    """Return the orientation that such boxes have together, 1 to 8."""
    probe = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    turned = probe
    for kind, *values in boxes:
        if kind == "irot":
            turned = np.rot90(turned, values[0] // 90)
        if kind == "imir":
            turned = np.flip(turned, axis=values[0])
    return next(number for number in range(1, 9) if np.array_equal(turn_upright(probe, number), turned))


def valid_orientation(orientation: object) -> int:
    """Return an orientation if it is one of the eight, else 1."""
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return the upright height and width of a stored picture, or the stored ones of an upright picture."""
    return (width, height) if orientation >= 5 else (height, width)
