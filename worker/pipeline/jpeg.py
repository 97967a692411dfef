"""JPEG: decoded at full size or at a half, a quarter or an eighth, strictly."""

from __future__ import annotations

import numpy as np

# It ships stubs but no py.typed marker.
import simplejpeg  # type: ignore[import-untyped]
from PIL import ImageFile

from shared.errors import ImageCorrupt
from worker.pipeline.photo import Pixels
from worker.pipeline.pixels import to_rgb

#: Scans of one progressive JPEG. Encoders write about ten; thousands of empty scans over a
#: large picture would keep a decoder busy for minutes.
MAX_SCANS = 200

_START_OF_SCAN = b"\xff\xda"

#: Warnings of libjpeg that do not mean missing pixels; and turbojpeg's refusal of unusual
#: chroma subsampling. With these Pillow decides, which refuses a file that ends too early.
_HARMLESS = (
    "extraneous bytes before marker",
    "Unknown Adobe color transform",
    "unknown JFIF revision",
    "Could not determine subsampling",
)


def reduction(height: int, width: int, least: tuple[int, int]) -> int:
    """Return the largest of 1, 2, 4 and 8 that leaves at least `least` (height, width)."""
    for by in (8, 4, 2):
        if _divide(height, by) >= least[0] and _divide(width, by) >= least[1]:
            return by
    return 1


def decode_jpeg(data: bytes, header: ImageFile.ImageFile, *, by: int) -> Pixels:
    """Decode a JPEG, reduced `by` 1, 2, 4 or 8, as RGB; not yet upright.

    Grayscale, CMYK and YCCK are converted. `header` is the same file, opened with Pillow.

    Raises ImageCorrupt for any damage libjpeg notices, an early end above all.
    """
    _check_scans(data, header)
    height, width = _divide(header.height, by), _divide(header.width, by)
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError as exc:
        if not any(words in str(exc) for words in _HARMLESS):
            raise ImageCorrupt from exc
        header.load()
        return to_rgb(header)
    return np.asarray(pixels)


def _check_scans(data: bytes, header: ImageFile.ImageFile) -> None:
    if header.info.get("progressive") and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise ImageCorrupt(f"The JPEG has more than {MAX_SCANS} scans, as no camera or program writes it.")


def _divide(size: int, by: int) -> int:
    """Return the size libjpeg gives a side that is reduced."""
    return -(-size // by)
