"""Decode JPEG strictly, at full size or at a half, a quarter or an eighth."""

from __future__ import annotations

import io
import re
from contextlib import suppress

import numpy as np

# It ships stubs but no py.typed marker.
import simplejpeg  # type: ignore[import-untyped]
from PIL import JpegImagePlugin

from shared.errors import ImageCorrupt
from worker.pipeline.decode.jpeg_file import JpegFile, JpegPicture, read_picture
from worker.pipeline.decode.pixels import to_rgb
from worker.pipeline.photo import Pixels

#: libjpeg's complaint about unused bytes: how many, and before which marker.
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")

#: How turbojpeg refuses unusual chroma subsampling.
_UNUSUAL = "Could not determine subsampling"

#: libjpeg stops at its first complaint, so decoding starts over for every scan with surplus bytes.
_TRIES = 24


def reduction(height: int, width: int, least: tuple[int, int]) -> int:
    """Return the largest of 1, 2, 4 and 8 that leaves at least `least` (height, width)."""
    for by in (8, 4, 2):
        if _divide(height, by) >= least[0] and _divide(width, by) >= least[1]:
            return by
    return 1


def decode_jpeg(data: bytes, file: JpegFile, *, by: int) -> Pixels:
    """Decode a JPEG, reduced `by` 1, 2, 4 or 8, as RGB; not yet upright.

    Grayscale, CMYK and YCCK are converted. `file` is what `read_jpeg` read of the same data.

    Raises ImageCorrupt for any damage that costs pixels, an early end above all.
    """
    if file.one_scan:
        # Nearly all JPEGs decode here; the rest get a closer look.
        with suppress(ValueError):
            return _decode(data, file, by)
    return _decode_picture(read_picture(data, file).mended(), file, by)


def _decode(data: bytes, file: JpegFile, by: int) -> Pixels:
    """Decode as libjpeg does. Raises ValueError with libjpeg's first complaint."""
    height, width = _divide(file.frame.height, by), _divide(file.frame.width, by)
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width))


def _decode_picture(picture: JpegPicture, file: JpegFile, by: int) -> Pixels:
    for _ in range(_TRIES):
        try:
            return _decode(picture.join(), file, by)
        except ValueError as exc:
            if _UNUSUAL in str(exc):
                return _decode_unusual(picture, file, by)
            if (surplus := _SURPLUS.search(str(exc))) is None:
                if picture.filled_up:
                    return _decode_filled_up(picture, file, by)
                raise ImageCorrupt from exc
        picture = picture.without_surplus(int(surplus[1]), int(surplus[2], 16))
    raise ImageCorrupt


def _decode_filled_up(picture: JpegPicture, file: JpegFile, by: int) -> Pixels:
    """Decode a picture whose last byte may be the first of the zeros after it.

    Encoders pad their last byte with ones. So if its last bit could be a one without changing a pixel, the
    byte does not belong to the picture, and other bytes are missing.
    """
    pixels = _decode(picture.lengthened(b"\0").join(), file, by)
    with suppress(ValueError):
        if np.array_equal(pixels, _decode(picture.lengthened(b"\1").join(), file, by)):
            raise ImageCorrupt
    return pixels


def _decode_unusual(picture: JpegPicture, file: JpegFile, by: int) -> Pixels:
    """Decode with Pillow, which is not strict: it makes up missing data.

    So decode the picture a second time with other bytes after its data: if they change a pixel, some of
    its own are missing.
    """
    if picture.filled_up:
        picture = picture.lengthened(b"\0")
    pixels = _decode_with_pillow(picture.join(), file, by)
    if not np.array_equal(pixels, _decode_with_pillow(picture.lengthened(b"\x5a" * 64).join(), file, by)):
        raise ImageCorrupt
    return pixels


def _decode_with_pillow(data: bytes, file: JpegFile, by: int) -> Pixels:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        image.draft(image.mode, (max(1, file.frame.width // by), max(1, file.frame.height // by)))
        image.load()
        return to_rgb(image)


def _divide(size: int, by: int) -> int:
    """Return the length that libjpeg gives a reduced side."""
    return -(-size // by)
