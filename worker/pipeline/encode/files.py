"""Write arrays to files. Only the pixels of the source file get in: no EXIF, no location."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# It ships stubs but no py.typed marker.
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from shared.errors import ImageTooLarge
from worker.pipeline.encode.deflate import make_deflater
from worker.pipeline.photo import Floats, Pixels

JPEG_QUALITY = 95

#: libjpeg's own bound on a side (JPEG_MAX_DIMENSION).
JPEG_MAX_SIDE = 65_500

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAYSCALE = 0
_RGB = 2
_INDEXED = 3
_RGBA = 6

#: PNG's filter "Up": each byte minus the one above. A depth map is smooth, so most differences are zero.
_FILTER_UP = 2

#: Rows filtered at a time: they stay in the processor's cache until they are compressed.
_BLOCK_ROWS = 32


def encode_indexed_png(strips: Iterable[Pixels], shape: tuple[int, int], table: Pixels) -> bytes:
    """Write strips of H x W indices into a table of 256 colours as an 8-bit PNG with a palette.

    It has the same pixels as an RGB PNG, and a third of the bytes to compress.
    """
    body = _deflate(strips, zlib.Z_RLE)
    header = _header(*shape, 8, _INDEXED)
    return _png(header, _chunk(b"PLTE", table.tobytes()), _chunk(b"IDAT", body))


def encode_gray16_png(strips: Iterable[NDArray[np.uint16]], shape: tuple[int, int]) -> bytes:
    """Write strips of H x W words as a 16-bit grayscale PNG."""
    big_endian = (words.astype(">u2").view(np.uint8) for words in strips)
    # Run lengths would not help: the low bytes look like noise.
    body = _deflate(big_endian, zlib.Z_DEFAULT_STRATEGY)
    return _png(_header(*shape, 16, _GRAYSCALE), _chunk(b"IDAT", body))


def encode_gray_png(strips: Iterable[Pixels], shape: tuple[int, int]) -> bytes:
    """Write strips of H x W as an 8-bit grayscale PNG."""
    return _png(_header(*shape, 8, _GRAYSCALE), _chunk(b"IDAT", _deflate(strips, zlib.Z_RLE)))


def encode_rgb_png(strips: Iterable[NDArray[Any]], shape: tuple[int, int], bits: int) -> bytes:
    """Write strips of H x W x 3, uint8 or uint16 as `bits` says, as an RGB PNG of 8 or 16 bits a channel."""
    samples = (strip.astype(f">u{bits // 8}", copy=False) for strip in strips)
    rows = (strip.reshape(strip.shape[0], -1).view(np.uint8) for strip in samples)
    body = _deflate(rows, zlib.Z_DEFAULT_STRATEGY)
    return _png(_header(*shape, bits, _RGB), _chunk(b"IDAT", body))


def encode_rgba_png(strips: Iterable[Pixels], shape: tuple[int, int]) -> bytes:
    """Write strips of H x W x 4, RGB and alpha, as an 8-bit PNG; its alpha is not premultiplied."""
    body = _deflate((strip.reshape(len(strip), -1) for strip in strips), zlib.Z_DEFAULT_STRATEGY)
    return _png(_header(*shape, 8, _RGBA), _chunk(b"IDAT", body))


def encode_jpeg(rgb: Pixels, subsampling: str = "420") -> bytes:
    """Write H x W x 3 as a JPEG of quality 95, colour at half the resolution; with `444`, at the whole.

    Raises ImageTooLarge if a side is too long for a JPEG.
    """
    check_jpeg_size(*rgb.shape[:2])
    data: bytes = simplejpeg.encode_jpeg(
        rgb, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling=subsampling
    )
    return data


def check_jpeg_size(height: int, width: int) -> None:
    """Raise ImageTooLarge if a side is too long for a JPEG."""
    if max(height, width) > JPEG_MAX_SIDE:
        raise ImageTooLarge(
            f"A JPEG has at most {JPEG_MAX_SIDE:,} pixels a side, and this picture has {width:,} x "
            f"{height:,}; ask for another output, or for heatmap_format=png."
        )


def encode_pfm(upward: Iterable[Floats], shape: tuple[int, int]) -> bytes:
    """Write strips of H x W, the lowest first, as a portable float map: `Pf`, little-endian (scale -1).

    Its rows run from bottom to top. Format: Paul Debevec's, netpbm.sourceforge.net/doc/pfm.html.
    """
    height, width = shape
    file = io.BytesIO()
    file.write(b"Pf\n%d %d\n-1\n" % (width, height))
    return _write_floats(file, (strip[::-1] for strip in upward))


def encode_npy(strips: Iterable[Floats], shape: tuple[int, int]) -> bytes:
    """Write strips of H x W float32 in NumPy's own format, version 1.0, without pickles."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return _write_floats(file, strips)


def _write_floats(file: io.BytesIO, strips: Iterable[Floats]) -> bytes:
    """Append strips to the file, and return all of it.

    A map of 200 megapixels has 800 MB. They exist only once, in the file, which is not copied either.
    """
    for strip in strips:
        file.write(np.ascontiguousarray(strip, "<f4").data)
    return file.getvalue()


def _png(*chunks: bytes) -> bytes:
    return b"".join((_PNG_SIGNATURE, *chunks, _chunk(b"IEND", b"")))


def _header(height: int, width: int, depth: int, colour_type: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))


def _deflate(strips: Iterable[Pixels], strategy: int) -> bytes:
    """Filter and compress the bytes of all rows."""
    deflater = make_deflater(strategy)
    parts = [deflater.compress(strip.data) for strip in _filter_up(strips)]
    return b"".join((*parts, deflater.flush()))


def _filter_up(strips: Iterable[Pixels]) -> Iterator[Pixels]:
    """Yield the filtered rows of strips in blocks, each valid until the next."""
    above = block = np.empty(0, np.uint8)
    for strip in strips:
        height, width = strip.shape
        if not block.size:
            # The row above the first one counts as zeros.
            above = np.zeros(width, np.uint8)
            block = np.empty((_BLOCK_ROWS, 1 + width), np.uint8)
            block[:, 0] = _FILTER_UP
        for top in range(0, height, _BLOCK_ROWS):
            rows = strip[top : top + _BLOCK_ROWS]
            count = rows.shape[0]
            np.subtract(rows[0], above, out=block[0, 1:])
            np.subtract(rows[1:], rows[:-1], out=block[1:count, 1:])
            above = rows[-1].copy()
            yield block[:count]
