"""The result files, each made from the photo and its depth map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from fathom.options import HeatmapFormat, Options, Output, Size
from shared.jobs.job import Range
from worker.pipeline.colour import BAND_ROWS, colour_bands, colour_table, colourise, cut_at_bands, ycc_tables
from worker.pipeline.depth import DepthMap, byte_strips, resize, to_bytes, word_strips
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.encode.files import (
    JPEG_MAX_SIDE,
    encode_gray16_png,
    encode_indexed_png,
    encode_jpeg,
    encode_npy,
    encode_pfm,
)
from worker.pipeline.photo import LeastSize, Photo, Pixels, full_size
from worker.pipeline.scratch import Scratch
from worker.pipeline.stages import Stage, Stopwatch

#: The longer side of each of the two pictures in a thumbnail; a small picture is not enlarged.
THUMBNAIL_SIDE = 512


class Rendering:
    """Makes the results of one photo; what several of them need is made once.

    Its arrays live in the scratch buffers, so finish it before the next photo.
    """

    def __init__(
        self,
        *,
        photo: Photo,
        depth: DepthMap,
        span: Range,
        options: Options,
        scratch: Scratch,
        stopwatch: Stopwatch,
    ) -> None:
        self.photo = photo
        self.depth = depth
        self.span = span
        self.options = options
        self.scratch = scratch
        self.stopwatch = stopwatch
        self.table = colour_table(options.colormap, invert=options.invert)

    @cached_property
    def indices(self) -> Pixels:
        """The normalised map, uint8, H x W."""
        with self.stopwatch.time(Stage.COLOUR):
            return to_bytes(self.depth, self.span, self.scratch)

    @cached_property
    def colours(self) -> Pixels:
        """The heatmap, RGB, H x W x 3."""
        indices = self.indices
        with self.stopwatch.time(Stage.COLOUR):
            return colourise(indices, self.table, self.scratch.take("rgb", (*indices.shape, 3), np.uint8))

    def make(self, output: Output) -> bytes:
        """Return the file of one output."""
        return _MAKERS[output](self)


def least_size_for(options: Options, network_size: LeastSize) -> LeastSize:
    """Return how small a photo may be decoded for these options.

    That is twice the network's input, so that resizing to it still averages; at least the thumbnail's size
    if one is wanted; and the full size if a result shows the photo at full size.
    """
    if Output.SIDE_BY_SIDE in options.outputs and options.size is Size.ORIGINAL:
        return full_size
    shown = _thumbnail_size if Output.THUMBNAIL in options.outputs else _nothing

    def least_size(height: int, width: int) -> tuple[int, int]:
        network, thumbnail = network_size(height, width), shown(height, width)
        return max(2 * network[0], thumbnail[0]), max(2 * network[1], thumbnail[1])

    return least_size


def release_pixels(photo: Photo, options: Options) -> Photo:
    """Return the photo without its pixels if no output shows them, to free their memory."""
    if {Output.SIDE_BY_SIDE, Output.THUMBNAIL} & set(options.outputs):
        return photo
    return replace(photo, rgb=np.empty((0, 0, 3), np.uint8))


def _nothing(height: int, width: int) -> tuple[int, int]:
    return 0, 0


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    return _fit(height, width, THUMBNAIL_SIDE)


def _fit(height: int, width: int, side: int) -> tuple[int, int]:
    """Scale a size down, never up, until its longer side is at most `side`."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def _heatmap(r: Rendering) -> bytes:
    strips = byte_strips(r.depth, r.span, r.scratch)
    if r.options.heatmap_format is HeatmapFormat.JPEG:
        tables = ycc_tables(r.options.colormap, invert=r.options.invert)
        jpeg = BandedJpeg(*r.depth.shape, BAND_ROWS)
        bands = colour_bands(strips, r.depth.shape[1], tables, r.scratch)
        for band in r.stopwatch.time_each(Stage.COLOUR, bands):
            with r.stopwatch.time(Stage.ENCODE):
                jpeg.add(*band)
        return jpeg.finish()
    with r.stopwatch.time(Stage.ENCODE):
        return encode_indexed_png((strip for _, strip in strips), r.depth.shape, r.table)


def _depth16(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_gray16_png(word_strips(r.depth), r.depth.shape)


def _pfm(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_pfm(r.depth.upsampler.strips_upward(), r.depth.shape)


def _npy(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_npy((strip for _, strip in r.depth.upsampler.strips()), r.depth.shape)


def _side_by_side(r: Rendering) -> bytes:
    # Two pictures side by side must fit into one JPEG.
    height, width = _fit(*r.depth.shape, JPEG_MAX_SIDE // 2)
    if (height, width) == r.depth.shape == r.photo.rgb.shape[:2]:
        return _side_by_side_in_bands(r)
    colours = r.colours
    with r.stopwatch.time(Stage.ENCODE):
        return encode_jpeg(_pair(r, _resize(colours, height, width)))


def _side_by_side_in_bands(r: Rendering) -> bytes:
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


def _thumbnail(r: Rendering) -> bytes:
    height, width = _thumbnail_size(r.photo.height, r.photo.width)
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
    both[:, :width] = _resize(r.photo.rgb, height, width)
    both[:, width:] = colours
    return both


def _resize(rgb: Pixels, height: int, width: int) -> Pixels:
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


_MAKERS: dict[Output, Callable[[Rendering], bytes]] = {
    Output.HEATMAP: _heatmap,
    Output.DEPTH16: _depth16,
    Output.PFM: _pfm,
    Output.NPY: _npy,
    Output.SIDE_BY_SIDE: _side_by_side,
    Output.THUMBNAIL: _thumbnail,
}
