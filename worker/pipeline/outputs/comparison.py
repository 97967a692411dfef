"""The photo beside its heatmap: at full size to compare, and small for pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from worker.pipeline.colour import BAND_ROWS, colourise, cut_at_bands
from worker.pipeline.depth import byte_strips, resize, to_bytes
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.encode.files import JPEG_MAX_SIDE, encode_jpeg
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Pixels
from worker.pipeline.scratch import Scratch
from worker.pipeline.sizes import fit, resize_photo
from worker.pipeline.stages import Stage

#: The longer side of each of the two pictures in a thumbnail; a small picture is not enlarged.
THUMBNAIL_SIDE = 512


def comparison(r: Rendering) -> bytes:
    # Two pictures side by side must fit into one JPEG.
    height, width = fit(*r.depth.shape, JPEG_MAX_SIDE // 2)
    if (height, width) == r.depth.shape == r.photo.rgb.shape[:2]:
        return _comparison_in_bands(r)
    colours = r.colours
    with r.stopwatch.time(Stage.ENCODE):
        return encode_jpeg(_pair(r, resize_photo(colours, height, width)))


def _comparison_in_bands(r: Rendering) -> bytes:
    height, width = r.depth.shape
    jpeg = BandedJpeg(height, 2 * width, BAND_ROWS)
    for band in r.stopwatch.time_each(Stage.COLOUR, _paired_bands(r)):
        with r.stopwatch.time(Stage.ENCODE):
            jpeg.add_rgb(band)
    return jpeg.finish()


def _paired_bands(r: Rendering) -> Iterator[Pixels]:
    """Yield bands of photo and heatmap, each valid until the next: all of 200 megapixels have 1.2 GB."""
    width = r.depth.shape[1]
    pair: Pixels = r.scratch.take("pair", (BAND_ROWS, 2 * width, 3), np.uint8)
    top = filled = 0
    for indices in cut_at_bands(byte_strips(r.depth, r.span, r.scratch)):
        count = indices.shape[0]
        rows = slice(filled, filled + count)
        pair[rows, :width] = r.photo.rgb[top : top + count]
        colours = r.scratch.take("rgb", (count, width, 3), np.uint8)
        pair[rows, width:] = colourise(indices, r.table, colours)
        top, filled = top + count, rows.stop % BAND_ROWS
        if filled == 0:
            yield pair
    if filled:
        yield pair[:filled]


def thumbnail(r: Rendering) -> bytes:
    height, width = thumbnail_size(r.photo.height, r.photo.width)
    # Interpolate from the prediction itself: the full map would have to be shrunk again.
    small = Scratch()
    with r.stopwatch.time(Stage.UPSAMPLE):
        depth = resize(r.depth, height, width, small)
    with r.stopwatch.time(Stage.COLOUR):
        indices = to_bytes(depth, r.span, small)
        colours = colourise(indices, r.table, np.empty((height, width, 3), np.uint8))
    with r.stopwatch.time(Stage.ENCODE):
        return encode_jpeg(_pair(r, colours))


def _pair(r: Rendering, colours: Pixels) -> Pixels:
    """Place the photo, resized to the heatmap's size, left of the heatmap."""
    height, width = colours.shape[:2]
    both: Pixels = r.scratch.take("pair", (height, 2 * width, 3), np.uint8)
    both[:, :width] = resize_photo(r.photo.rgb, height, width)
    both[:, width:] = colours
    return both


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    return fit(height, width, THUMBNAIL_SIDE)
