"""Convert the 8-bit samples of a TIFF to RGB."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from shared.errors import ImageCorrupt
from worker.pipeline.decode.tiff.directory import Directory, Tag
from worker.pipeline.decode.tiff.layout import COLORS, Alpha, Photometric, Samples
from worker.pipeline.photo import Pixels

#: Alpha is composited on white, as in every other format.
_WHITE = 255

#: Pixels converted at a time, where conversion takes several times their memory.
_AT_ONCE = 2**18


def to_rgb(samples: Pixels, meaning: Samples, page: Directory) -> Pixels:
    """Return 8-bit samples, H x W x those wanted, as RGB. Raises ImageCorrupt if a palette is incomplete."""
    colors = COLORS[meaning.photometric]
    if meaning.photometric is Photometric.PALETTE:
        rgb = _from_palette(samples, _palette(page, meaning.bits))
    else:
        rgb = _CONVERTERS[meaning.photometric](samples[..., :colors])
    return rgb if meaning.alpha is None else _flatten(rgb, samples[..., colors], meaning.alpha)


def _array(result: Any) -> Pixels:
    return np.asarray(result, np.uint8)


def _stack(gray: Pixels) -> Pixels:
    return _array(cv2.cvtColor(np.ascontiguousarray(gray), cv2.COLOR_GRAY2RGB))


def _from_cmyk(cmyk: Pixels) -> Pixels:
    """Multiply the light that each ink leaves by what black leaves, as Pillow does."""
    light = _array(cv2.bitwise_not(np.ascontiguousarray(cmyk)))
    black = light[..., 3]
    return _array(cv2.merge([cv2.multiply(light[..., ink], black, scale=1 / 255) for ink in range(3)]))


def _from_ycbcr(ycbcr: Pixels) -> Pixels:
    ycrcb = np.ascontiguousarray(ycbcr[..., [0, 2, 1]])
    return _array(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB))


def _from_cielab(lab: Pixels) -> Pixels:
    """Convert CIE L*a*b*, whose a* and b* are signed bytes and whose white is daylight at 5000 K."""
    height, width = lab.shape[:2]
    rgb = np.empty((height, width, 3), np.uint8)
    at_once = max(1, _AT_ONCE // width)
    for top in range(0, height, at_once):
        part = lab[top : top + at_once]
        image = Image.frombytes("LAB", (width, len(part)), part.tobytes())
        rgb[top : top + at_once] = np.asarray(ImageCms.applyTransform(image, _lab_to_srgb()))
    return rgb


def _from_icclab(lab: Pixels) -> Pixels:
    """Convert L*a*b* with 128 added to a* and b*."""
    return _from_cielab(np.bitwise_xor(lab, np.array([0, 128, 128], np.uint8)))


@functools.cache
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


_CONVERTERS: dict[Photometric, Callable[[Pixels], Pixels]] = {
    Photometric.WHITE_IS_ZERO: lambda gray: _stack(_array(cv2.bitwise_not(np.ascontiguousarray(gray)))),
    Photometric.BLACK_IS_ZERO: _stack,
    Photometric.RGB: np.ascontiguousarray,
    Photometric.CMYK: _from_cmyk,
    Photometric.YCBCR: _from_ycbcr,
    Photometric.CIELAB: _from_cielab,
    Photometric.ICCLAB: _from_icclab,
}


def _palette(page: Directory, bits: int) -> Pixels:
    """Return the colours of a palette, N x 3. Raises ImageCorrupt if some are missing."""
    count = 2**bits
    values = page.numbers(Tag.COLOR_MAP, 3 * count)
    if values.size < 3 * count:
        raise ImageCorrupt
    # The values have 16 bits, but some writers use only the lower 8.
    scaled = values >> 8 if values.max() > 255 else values
    return scaled.reshape(3, count).T.astype(np.uint8)


def _from_palette(samples: Pixels, palette: Pixels) -> Pixels:
    return np.take(palette, samples[..., 0], axis=0)


def _flatten(rgb: Pixels, alpha: Pixels, kind: Alpha) -> Pixels:
    alpha = _stack(alpha)
    light = rgb if kind is Alpha.ASSOCIATED else _array(cv2.multiply(rgb, alpha, scale=1 / 255))
    return _array(cv2.add(light, cv2.subtract(np.full_like(alpha, _WHITE), alpha)))
