"""Large PNG, WebP and HEIF pictures decoded straight to a half, a quarter or an eighth of their size.

Pillow would hold such a picture two to four times over: 600 MB for a PNG of 50 megapixels. Here a
WebP or a HEIF is held once, and of a PNG no more than a strip of rows. All are as strict as Pillow: a
file that stops before its end or is damaged is refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from PIL import ImageFile
from pillow_heif.as_plugin import HeifImageFile

from shared.errors import ImageCorrupt
from shared.formats import Format
from worker.pipeline.photo import Pixels

#: Smaller pictures are left to Pillow: they take little memory either way.
_LARGE_PIXELS = 4_000_000

#: Rows of a PNG decoded at a time; a multiple of every reduction.
_STRIP_ROWS = 64

#: Where a PNG's orientation may be: its chunk of EXIF, and the keywords of texts that hold it or XMP.
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB8 = (8, 2, 0, 0, 0)
_BGR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_BGR_HALF = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION


def decode_reduced(data: bytes, image: ImageFile.ImageFile, found: Format, *, by: int) -> Pixels | None:
    """Return the picture reduced `by` 2, 4 or 8, as RGB, not yet upright; None if Pillow is to do it.

    A HEIF is upright, and may be wanted at its full size too. `image` is the same file, its header read
    by Pillow. Raises ImageCorrupt, and what zlib, OpenCV and libheif raise over damaged files.
    """
    if image.width * image.height < _LARGE_PIXELS or image.mode != "RGB":
        return None
    if isinstance(image, HeifImageFile):
        return _reduce_heif(image, by)
    if by > 1 and found is Format.WEBP and not getattr(image, "is_animated", False):
        return _reduce_webp(data, image.height, image.width, by)
    if by > 1 and found is Format.PNG and _is_plain(data, image):
        return _to_rgb(_reduce_all(_png_strips(data, image.height, image.width), by))
    return None


def _reduce_heif(image: HeifImageFile, by: int) -> Pixels | None:
    assert image._heif_file is not None, "Its pixels were asked for before."
    frame = image._heif_file[image.tell()]
    data = frame.data
    if frame.size != image.size or frame.mode != "RGB":
        # The size in a HEIF's header need not be that of the picture inside.
        return None
    shape = image.height, image.width, 3
    pixels: Pixels = np.ndarray(shape, np.uint8, buffer=data, strides=(frame.stride, 3, 1))
    return np.ascontiguousarray(pixels) if by == 1 else _reduce_all(_in_strips(pixels), by)


def _is_plain(data: bytes, image: ImageFile.ImageFile) -> bool:
    """Tell whether a PNG is 8-bit RGB, not interlaced, with neither transparency nor an orientation."""
    if struct.unpack(">5B", data[24:29]) != _RGB8 or "transparency" in image.info:
        return False
    return not any(mark in data for mark in _PNG_METADATA)


def _reduce_webp(data: bytes, height: int, width: int, by: int) -> Pixels:
    if height % 2 or width % 2:
        return _to_rgb(_reduce_all(_in_strips(_decode_bgr(data, height, width)), by))
    # OpenCV copies a picture it has decoded, but not if it is to halve it: of 24 megapixels that is
    # 70 MB and half of the time. It halves by the means of squares of two pixels.
    half = _decode_bgr(data, height // 2, width // 2, _BGR_HALF)
    return _to_rgb(_reduce_all(_in_strips(half), by // 2))


def _decode_bgr(data: bytes, height: int, width: int, how: int = _BGR) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if pixels is None or pixels.shape != (height, width, 3):
        raise ImageCorrupt
    return np.asarray(pixels, np.uint8)


def _in_strips(pixels: Pixels) -> Iterator[Pixels]:
    for top in range(0, pixels.shape[0], _STRIP_ROWS):
        yield pixels[top : top + _STRIP_ROWS]


def _reduce_all(strips: Iterable[Pixels], by: int) -> Pixels:
    return np.concatenate([_reduce(strip, by) for strip in strips])


def _reduce(strip: Pixels, by: int) -> Pixels:
    """Average squares of `by` pixels, cut off at the edges."""
    height, width = strip.shape[:2]
    below, right = -height % by, -width % by
    if below or right:
        strip = np.asarray(cv2.copyMakeBorder(strip, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    size = strip.shape[1] // by, strip.shape[0] // by
    return np.asarray(cv2.resize(strip, size, interpolation=cv2.INTER_AREA), np.uint8)


def _to_rgb(bgr: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _png_strips(data: bytes, height: int, width: int) -> Iterator[Pixels]:
    """Yield the rows of a PNG of 8-bit RGB, not interlaced, as BGR strips.

    Each strip is decoded as a small PNG of its own, which stores the filtered rows as they are.
    Its first row is the one above, which the filters refer to, and is cut off again.
    """
    line = 1 + 3 * width
    above, left = bytes(line), height
    rows = _Rows(data)
    while left:
        count = min(_STRIP_ROWS, left)
        body = rows.read(count * line)
        strip = _decode_bgr(_small_png(above + body, count + 1, width), count + 1, width)[1:]
        # Filter 0: the row as it is.
        above = b"\0" + strip[-1, :, ::-1].tobytes()
        left -= count
        yield strip
    rows.finish()


class _Rows:
    """Inflates the image data of a PNG piece by piece."""

    def __init__(self, data: bytes) -> None:
        self._inflater = zlib.decompressobj()
        self._chunks = _image_data(data)
        self._compressed: bytes | memoryview = b""

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes of filtered rows. Raises ImageCorrupt if there are fewer."""
        parts, missing = [], count
        while missing:
            if not len(self._compressed):
                self._compressed = self._next_chunk()
            part = self._inflater.decompress(self._compressed, missing)
            self._compressed = self._inflater.unconsumed_tail
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Read to the end, where zlib compares its checksum. Raises ImageCorrupt or zlib.error."""
        while not self._inflater.eof:
            self._inflater.decompress(self._compressed or self._next_chunk(), 1)
            self._compressed = self._inflater.unconsumed_tail

    def _next_chunk(self) -> memoryview:
        chunk = next(self._chunks, None)
        if chunk is None or self._inflater.eof:
            raise ImageCorrupt
        return chunk


def _image_data(data: bytes) -> Iterator[memoryview]:
    """Yield the bodies of a PNG's IDAT chunks. Raises ImageCorrupt if a checksum is wrong."""
    view, at = memoryview(data), len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], view[at + 8 : at + 8 + length]
        at += 12 + length
        if at > len(data):
            raise ImageCorrupt
        if kind == b"IDAT":
            if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, at - 4)[0]:
                raise ImageCorrupt
            # In pieces, as what zlib has not consumed yet is copied at every call.
            yield from (body[start : start + 65_536] for start in range(0, length, 65_536))


def _small_png(rows: bytes, height: int, width: int) -> bytes:
    header = struct.pack(">II5B", width, height, *_RGB8)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))
