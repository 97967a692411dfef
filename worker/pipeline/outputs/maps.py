"""The maps: the heatmap, and the numbers of relative inverse depth."""

from __future__ import annotations

import cv2

from fathom.options import HeatmapFormat
from shared.jobs.job import Range
from worker.pipeline.colour import BAND_ROWS, colour_bands, ycc_tables
from worker.pipeline.depth import byte_strips, word_strips
from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.encode.files import (
    encode_gray16_png,
    encode_indexed_png,
    encode_npy,
    encode_pfm,
    encode_rgb_png,
)
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.stages import Stage


def heatmap(r: Rendering) -> bytes:
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


def depth16(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_gray16_png(word_strips(r.depth), r.depth.shape)


def pfm(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_pfm(r.depth.upsampler.strips_upward(), r.depth.shape)


def npy(r: Rendering) -> bytes:
    with r.stopwatch.time(Stage.ENCODE):
        return encode_npy((strip for _, strip in r.depth.upsampler.strips()), r.depth.shape)


def controlnet(r: Rendering) -> bytes:
    """Return what depth ControlNets were trained on: near is white, and all of 0 to 255 is used, in RGB.

    It has the image's own range, for these networks know no other.
    """
    strips = byte_strips(r.depth, Range(low=r.depth.low, high=r.depth.high), r.scratch)
    with r.stopwatch.time(Stage.ENCODE):
        pictures = (cv2.cvtColor(strip, cv2.COLOR_GRAY2RGB) for _, strip in strips)
        return encode_rgb_png(pictures, r.depth.shape, 8)
