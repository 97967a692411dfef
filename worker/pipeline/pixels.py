"""From whatever a file holds (palette, 16 bits, floats, ink, alpha) to upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.pipeline.photo import Pixels

#: Alpha is composited on this. White is what a picture cut out for a page is made for, and
#: what most viewers show behind one.
BACKGROUND = (255, 255, 255)

_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}

_BAND_ROWS = 128

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
        return _in_bands(image, _flatten)
    return _in_bands(image, lambda band: band.convert("RGB"))


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation, 1 to 8 (CIPA DC-008, tag 274), to H x W x 3 pixels."""
    if orientation in _ROTATIONS:
        return _array(cv2.rotate(pixels, _ROTATIONS[orientation]))
    if orientation in (5, 7):
        pixels = _array(cv2.transpose(pixels))
    # cv2.flip: 1 mirrors left and right, 0 top and bottom, -1 both.
    flip = {2: 1, 4: 0, 7: -1}.get(orientation)
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


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Convert a picture to RGB band by band.

    Pillow has four bytes for a pixel of RGB, and copies a picture twice on its way to NumPy: of 200
    megapixels that would be 2 GB, and a picture with transparency would be there a few times more.
    """
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        rgb[top:bottom] = np.asarray(convert(image.crop((0, top, width, bottom))))
    return rgb


def _flatten(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", image.size, BACKGROUND)
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat
