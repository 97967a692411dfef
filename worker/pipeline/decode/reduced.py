"""Reduce pictures to a half, a quarter or an eighth strip by strip, and decode large WebP and HEIF that way.

Pillow would hold two to four copies of a large WebP or HEIF; this module holds one. It is as strict as
Pillow: a file that is cut off or damaged is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from PIL import ImageFile
from pillow_heif.as_plugin import HeifImageFile

from shared.errors import ImageCorrupt
from worker.pipeline.photo import Pixels

#: Pillow decodes smaller pictures: they take little memory either way.
_LARGE_PIXELS = 4_000_000

#: Rows reduced at a time; a multiple of every reduction.
_STRIP_ROWS = 64

_BGR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_BGR_HALF = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION


def decode_reduced(data: bytes, image: ImageFile.ImageFile, *, by: int) -> Pixels | None:
    """Return a WebP or HEIF reduced `by` 2, 4 or 8, as RGB; None if Pillow must decode it.

    A HEIF may also be returned at full size, and is upright; a WebP is not upright yet. `image` is the same
    file after Pillow read its header. Raises ImageCorrupt, and what OpenCV and libheif raise for damaged
    files.
    """
    if image.width * image.height < _LARGE_PIXELS or image.mode != "RGB":
        return None
    if isinstance(image, HeifImageFile):
        return _reduce_heif(image, by)
    if by == 1 or getattr(image, "is_animated", False):
        return None
    bgr = _reduce_webp(data, image.height, image.width, by)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _reduce_heif(image: HeifImageFile, by: int) -> Pixels | None:
    assert image._heif_file is not None, "Its pixels have been read already."
    frame = image._heif_file[image.tell()]
    data = frame.data
    if frame.size != image.size or frame.mode != "RGB":
        # A HEIF's header may state another size than its picture has.
        return None
    shape = image.height, image.width, 3
    pixels: Pixels = np.ndarray(shape, np.uint8, buffer=data, strides=(frame.stride, 3, 1))
    if by == 1:
        return np.ascontiguousarray(pixels)
    return reduce_strips(in_strips(pixels), image.height, image.width, by)


def _reduce_webp(data: bytes, height: int, width: int, by: int) -> Pixels:
    """Return BGR."""
    if height % 2 or width % 2:
        return reduce_strips(in_strips(_decode_bgr(data, height, width)), height, width, by)
    # OpenCV copies a picture that it decodes at full size, but not one that it halves: for 24 megapixels this
    # saves 70 MB and half the time. It halves by averaging squares of two by two pixels.
    half = _decode_bgr(data, height // 2, width // 2, _BGR_HALF)
    return reduce_strips(in_strips(half), height // 2, width // 2, by // 2)


def _decode_bgr(data: bytes, height: int, width: int, how: int = _BGR) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if pixels is None or pixels.shape != (height, width, 3):
        raise ImageCorrupt
    return np.asarray(pixels, np.uint8)


def in_strips(pixels: Pixels) -> Iterator[Pixels]:
    """Cut a picture into strips for `reduce_strips`."""
    for top in range(0, pixels.shape[0], _STRIP_ROWS):
        yield pixels[top : top + _STRIP_ROWS]


def reduce_strips(strips: Iterable[Pixels], height: int, width: int, by: int) -> Pixels:
    """Join strips of three channels, reduced `by` 1, 2, 4 or 8.

    `height` and `width` are those of the whole picture. The height of every strip but the last is a
    multiple of `by`.
    """
    whole = np.empty((-(-height // by), -(-width // by), 3), np.uint8)
    top = 0
    for strip in strips:
        small = strip if by == 1 else average(strip, by)
        whole[top : top + len(small)] = small
        top += len(small)
    return whole


def average(strip: Pixels, by: int) -> Pixels:
    """Average squares of `by` pixels; at the edges, what is left of them."""
    height, width = strip.shape[:2]
    below, right = -height % by, -width % by
    if below or right:
        strip = np.asarray(cv2.copyMakeBorder(strip, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    size = strip.shape[1] // by, strip.shape[0] // by
    return np.asarray(cv2.resize(strip, size, interpolation=cv2.INTER_AREA), np.uint8)
