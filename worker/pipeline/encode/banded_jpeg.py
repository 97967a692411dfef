"""A JPEG encoded band by band: its planes never exist as a whole.

A JPEG may restart its entropy coding after every so many blocks (ITU-T T.81, B.2.4.4). The data between two
restart markers equal those of a JPEG of that band alone. So each band is encoded as a picture of its own,
and their data are joined under one header. The pixels equal those of a JPEG encoded at once.
"""

from __future__ import annotations

# It ships stubs but no py.typed marker.
import simplejpeg  # type: ignore[import-untyped]

from worker.pipeline.encode.files import JPEG_QUALITY, check_jpeg_size, encode_jpeg
from worker.pipeline.photo import Pixels

#: The side of a unit of blocks in pixels: 16 where Cb and Cr have half the resolution.
_UNITS = {"420": 16, "444": 8}

_BASELINE_FRAME, _START_OF_SCAN = 0xC0, 0xDA
_RESTART_INTERVAL = b"\xff\xdd\x00\x04"
_END = b"\xff\xd9"


class BandedJpeg:
    """Builds a JPEG of quality 95, by default with colour at half the resolution."""

    def __init__(self, height: int, width: int, band_rows: int, subsampling: str = "420") -> None:
        """Every band but the last has `band_rows` rows, a multiple of 16; `subsampling` is `420` or `444`.

        Raises ImageTooLarge if a side is too long for a JPEG.
        """
        check_jpeg_size(height, width)
        self._size = height.to_bytes(2) + width.to_bytes(2)
        unit = _UNITS[subsampling]
        self._interval = -(-width // unit) * (band_rows // unit)
        self._subsampling = subsampling
        self._parts: list[bytes | memoryview] = []

    def add(self, luma: Pixels, blue: Pixels, red: Pixels) -> None:
        """Add the next band of a JPEG of subsampling 420: Y, and Cb and Cr of half its height and width.

        Height and width of Y must be even: for an odd size, libjpeg-turbo reads one row and column more,
        whether they exist or not. Readers cut off what exceeds the picture.
        """
        self._add(simplejpeg.encode_jpeg_yuv_planes(luma, blue, red, quality=JPEG_QUALITY))

    def add_rgb(self, band: Pixels) -> None:
        """Add the next band in RGB, H x W x 3."""
        self._add(encode_jpeg(band, self._subsampling))

    def _add(self, data: bytes) -> None:
        scan = _find(data, _START_OF_SCAN)
        body = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])
        if not self._parts:
            self._parts.append(self._header(data, scan) + data[scan:body])
        else:
            # Restart markers count from 0 to 7, over and over.
            self._parts.append(bytes((0xFF, 0xD0 + (len(self._parts) // 2 - 1) % 8)))
        self._parts.append(memoryview(data)[body : -len(_END)])

    def finish(self) -> bytes:
        """Return the file."""
        return b"".join((*self._parts, _END))

    def _header(self, data: bytes, end: int) -> bytes:
        """Return the first band's header with the size of the whole picture and the restart interval."""
        size = _find(data, _BASELINE_FRAME) + 5
        restarts = _RESTART_INTERVAL + self._interval.to_bytes(2)
        return data[:size] + self._size + data[size + 4 : end] + restarts


def _find(data: bytes, kind: int) -> int:
    """Return where a JPEG's first segment of a kind begins."""
    at = 2
    while data[at + 1] != kind:
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return at
