"""From whatever a file holds (palette, 16 bits, floats, ink, alpha) to upright 8-bit RGB."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.pipeline.photo import Pixels

#: Alpha is composited on this. White is what a picture cut out for a page is made for, and
#: what most viewers show behind one.
BACKGROUND = (255, 255, 255)

_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def to_rgb(image: Image.Image) -> Pixels:
    """Return a loaded picture as uint8 RGB, H x W x 3.

    Values of more than 8 bits are scaled, not clipped: 16-bit ones by their full scale, 32-bit
    and float ones as `_to_gray8` says. Alpha is composited on white. Colour profiles are
    ignored: depth hardly depends on them, and converting takes longer than the network.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _stack(_from_16_bits(image))
    if mode in ("I", "F"):
        return _stack(_from_numbers(image))
    if mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        return _flatten(image)
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation, 1 to 8 (CIPA DC-008, tag 274), to H x W x 3 pixels."""
    if orientation in (5, 6, 7, 8):
        pixels = _array(cv2.transpose(pixels))
    # cv2.flip: 1 mirrors left and right, 0 top and bottom, -1 both.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else _array(cv2.flip(pixels, flip))


def _array(result: Any) -> Pixels:
    return np.asarray(result, dtype=np.uint8)


def _stack(gray: Pixels) -> Pixels:
    return _array(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))


def _from_16_bits(image: Image.Image) -> Pixels:
    values = np.asarray(image).astype(np.uint16, copy=False)
    # Pillow leaves the values of a 12-bit TIFF as they are: 0 to 4095.
    bits = _tiff_tag(image, _TIFF_BITS, 16)
    gray = _array(cv2.convertScaleAbs(values, alpha=255 / (2**bits - 1)))
    return _black_is_zero(image, gray)


def _from_numbers(image: Image.Image) -> Pixels:
    return _black_is_zero(image, _to_gray8(np.asarray(image).astype(np.float32)))


def _to_gray8(values: NDArray[np.float32]) -> Pixels:
    """Scale numbers of no fixed range to 0..255.

    Values within 0..1 (floats), 0..255 or 0..65535 are taken to have that full scale; any
    others are stretched from their minimum to their maximum. What is not finite becomes 0.
    """
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    full = next((top for top in (1, 255, 65535) if high <= top), None)
    if low < 0 or full is None:
        span = (high - low) or 1.0
        return ((values - low) * (255 / span)).astype(np.uint8)
    return _array(cv2.convertScaleAbs(values, alpha=255 / full))


def _black_is_zero(image: Image.Image, gray: Pixels) -> Pixels:
    """Invert where a TIFF says that zero is white: Pillow does so for up to 8 bits only."""
    if _tiff_tag(image, _TIFF_PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        return _array(cv2.bitwise_not(gray))
    return gray


def _tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    value = getattr(image, "tag_v2", {}).get(tag, default)
    first = value[0] if isinstance(value, tuple) else value
    return int(first)


def _from_lab(image: Image.Image) -> Pixels:
    """Convert CIE L*a*b*, of which Pillow holds a and b as signed bytes, OpenCV plus 128."""
    lab = np.bitwise_xor(np.asarray(image, np.uint8), np.array([0, 128, 128], np.uint8))
    return _array(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))


def _flatten(image: Image.Image) -> Pixels:
    rgba = np.asarray(image.convert("RGBA"))
    return on_white(_array(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)), _array(cv2.extractChannel(rgba, 3)))


def on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    """Return H x W x 3 colours, composited on BACKGROUND by H x W alpha."""
    if alpha.min() == 255:
        return colours
    ink = cv2.multiply(cv2.bitwise_not(colours), cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), scale=1 / 255)
    return _array(cv2.bitwise_not(ink))
