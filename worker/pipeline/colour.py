"""Colour tables: 256 RGB colours from far to near."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Colormap
from worker.pipeline.photo import Pixels
from worker.pipeline.scratch import Scratch

T = TypeVar("T", bound=np.generic)

#: Luma, Cb and Cr.
Planes: TypeAlias = tuple[Pixels, Pixels, Pixels]

#: Rows of a band: 800 KB of a map of 12 megapixels, so it is encoded from the cache.
BAND_ROWS = 128

#: Tables that OpenCV carries. Inferno, Magma and Viridis are by Smith and van der Walt
#: (matplotlib 1.5, CC0), Turbo is by Mikhailov (Google, 2019, Apache 2.0).
_OPENCV = {
    Colormap.INFERNO: cv2.COLORMAP_INFERNO,
    Colormap.MAGMA: cv2.COLORMAP_MAGMA,
    Colormap.VIRIDIS: cv2.COLORMAP_VIRIDIS,
    Colormap.TURBO: cv2.COLORMAP_TURBO,
}

#: ColorBrewer's 11-class Spectral (Brewer and Harrower, colorbrewer2.org, Apache 2.0), from cold to warm:
#: neither end is brighter, and depth viewers show near things in red.
_SPECTRAL = "5e4fa2 3288bd 66c2a5 abdda4 e6f598 ffffbf fee08b fdae61 f46d43 d53e4f 9e0142"

#: Rows Y, Cb and Cr of RGB, as JFIF 1.02 defines them.
_RGB_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@cache
def colour_table(colormap: Colormap, *, invert: bool = False) -> Pixels:
    """Return a read-only table, uint8, 256 x 3, RGB; `invert` swaps near and far."""
    table = np.ascontiguousarray(_table(colormap)[::-1] if invert else _table(colormap))
    table.flags.writeable = False
    return table


def colourise(indices: Pixels, table: Pixels, into: Pixels) -> Pixels:
    """Look up H x W indices in a table; write the colours into an H x W x 3 array and return it."""
    # With a custom table, applyColorMap keeps the order of its channels.
    cv2.applyColorMap(indices, table.reshape(256, 1, 3), dst=into)
    return into


@cache
def ycc_tables(colormap: Colormap, *, invert: bool = False) -> Planes:
    """Return `colour_table` as Y, Cb and Cr of JFIF, 256 values each, read-only."""
    ycc = np.rint(colour_table(colormap, invert=invert) @ _RGB_TO_YCC.T + [0, 128, 128])
    planes = np.ascontiguousarray(np.clip(ycc, 0, 255).astype(np.uint8).T)
    planes.flags.writeable = False
    luma, blue, red = planes
    return luma, blue, red


def colour_bands(
    strips: Iterable[tuple[int, Pixels]], width: int, tables: Planes, scratch: Scratch
) -> Iterator[Planes]:
    """Yield bands for a JPEG from strips of indices: Y, and Cb and Cr of half its height and width.

    Strips come from top to bottom; all but the last have an even number of rows. Every band but the last
    has `BAND_ROWS`. A band lives in the scratch buffers and is valid until the next. An odd last row or
    column is repeated.

    Four pixels get the colour of their average index, where an encoder would average their colours. Where a
    map is smooth, the difference is below one level; a crisp edge gets a fringe of a pixel.
    """
    half = BAND_ROWS // 2, -(-width // 2)
    luma = scratch.take("luma", (BAND_ROWS, 2 * half[1]), np.uint8)
    blue, red = scratch.take("blue", half, np.uint8), scratch.take("red", half, np.uint8)
    filled = 0
    for indices in map(_make_even, cut_at_bands(strips)):
        rows = slice(filled, filled + indices.shape[0])
        half_rows = slice(rows.start // 2, rows.stop // 2)
        cv2.LUT(indices, tables[0], dst=luma[rows])
        small = cv2.resize(indices, (half[1], indices.shape[0] // 2), interpolation=cv2.INTER_AREA)
        cv2.LUT(small, tables[1], dst=blue[half_rows])
        cv2.LUT(small, tables[2], dst=red[half_rows])
        filled = rows.stop % BAND_ROWS
        if filled == 0:
            yield luma, blue, red
    if filled:
        yield luma[:filled], blue[: filled // 2], red[: filled // 2]


def cut_at_bands(strips: Iterable[tuple[int, NDArray[T]]]) -> Iterator[NDArray[T]]:
    """Yield strips, cut where bands end."""
    for top, values in strips:
        first = BAND_ROWS - top % BAND_ROWS
        yield values[:first]
        for start in range(first, values.shape[0], BAND_ROWS):
            yield values[start : start + BAND_ROWS]


def _make_even(indices: Pixels) -> Pixels:
    """Repeat an odd last row or column."""
    height, width = indices.shape
    if height % 2 or width % 2:
        return np.pad(indices, ((0, height % 2), (0, width % 2)), mode="edge")
    return indices


def _table(colormap: Colormap) -> Pixels:
    steps = np.arange(256, dtype=np.uint8)
    if colormap is Colormap.GRAY:
        return np.repeat(steps[:, np.newaxis], 3, axis=1)
    if colormap is Colormap.SPECTRAL:
        return _interpolate(_SPECTRAL)
    # OpenCV 5 has true 1-D arrays: without the reshape, the result would not be 256 x 1 x 3.
    bgr = cv2.applyColorMap(steps.reshape(256, 1), _OPENCV[colormap])
    return np.asarray(bgr[:, 0, ::-1], np.uint8)


def _interpolate(anchors: str) -> Pixels:
    """Spread anchor colours evenly over 256 steps, linear in RGB between them."""
    colours = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()])
    at = np.linspace(0, len(colours) - 1, 256)
    channels = [np.interp(at, np.arange(len(colours)), colours[:, c]) for c in range(3)]
    return np.asarray(np.rint(np.stack(channels, axis=1)), np.uint8)
