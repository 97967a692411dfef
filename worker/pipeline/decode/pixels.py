"""Convert any pixels (palette, 16 bits, CMYK, alpha) to upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.pipeline.photo import Floats, Pixels

#: Alpha is composited on white: pictures cut out for a web page are made for it, and most viewers show it.
BACKGROUND = (255, 255, 255)

_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}

_BAND_ROWS = 128


def to_rgb(image: Image.Image) -> Pixels:
    """Return a loaded picture as uint8 RGB, H x W x 3.

    Scale values of 16 bits, do not clip them. Composite alpha on white. Ignore colour profiles: depth hardly
    depends on them, and converting takes longer than the network.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _stack(_from_16_bits(image))
    if image.has_transparency_data:
        return _in_bands(image, _flatten)
    return _in_bands(image, lambda band: np.asarray(band.convert("RGB")))


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation, 1 to 8 (CIPA DC-008, tag 274), to H x W x 3 pixels."""
    return _array(_turn(pixels, orientation))


def turn_map_upright(stored: Floats, orientation: int) -> Floats:
    """Do the same to a map, H x W."""
    return np.asarray(_turn(stored, orientation), np.float32)


def _turn(pixels: NDArray[Any], orientation: int) -> Any:
    if orientation in _ROTATIONS:
        return cv2.rotate(pixels, _ROTATIONS[orientation])
    if orientation in (5, 7):
        pixels = np.asarray(cv2.transpose(pixels))
    # cv2.flip: 1 mirrors left and right, 0 top and bottom, -1 both.
    flip = {2: 1, 4: 0, 7: -1}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def lay_as_stored(upright: Floats, orientation: int) -> Floats:
    """Return an upright map as the pixels of its photo are stored: what `turn_upright` undoes."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return np.asarray(_turn(upright, inverse), np.float32)


def _array(result: Any) -> Pixels:
    return np.asarray(result, dtype=np.uint8)


def _stack(gray: Pixels) -> Pixels:
    return _array(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))


def _from_16_bits(image: Image.Image) -> Pixels:
    values = np.asarray(image).astype(np.uint16, copy=False)
    return _array(cv2.convertScaleAbs(values, alpha=255 / 65535))


def _flatten(image: Image.Image) -> Pixels:
    rgba = np.asarray(image.convert("RGBA"))
    return on_white(_array(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)), _array(cv2.extractChannel(rgba, 3)))


def on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    """Composite H x W x 3 colours on BACKGROUND by H x W alpha."""
    if alpha.min() == 255:
        return colours
    ink = cv2.multiply(cv2.bitwise_not(colours), cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), scale=1 / 255)
    return _array(cv2.bitwise_not(ink))


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Pixels]) -> Pixels:
    """Convert a picture to RGB band by band.

    Pillow stores a pixel of RGB in four bytes and copies a picture twice on its way to NumPy: 2 GB for 200
    megapixels, and several times that with transparency.
    """
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        rgb[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return rgb
