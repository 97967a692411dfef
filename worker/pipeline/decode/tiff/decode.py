"""Decode the first full-size picture of a TIFF to an upright RGB photo."""

from __future__ import annotations

import numpy as np

from fathom.photos.formats import Format
from worker.pipeline.decode.jpeg import reduction
from worker.pipeline.decode.pixels import turn_upright
from worker.pipeline.decode.reduced import average
from worker.pipeline.decode.tiff.colour import to_rgb
from worker.pipeline.decode.tiff.directory import Directory, Tag, find_picture
from worker.pipeline.decode.tiff.layout import Layout, read_layout
from worker.pipeline.decode.tiff.scale import ValueRange, find_ranges, fixed_range, groups, overlap, to_bytes
from worker.pipeline.decode.tiff.segments import read_blocks
from worker.pipeline.photo import LeastSize, Limits, Photo, Pixels


def decode_tiff(data: bytes, limits: Limits, least_size: LeastSize) -> Photo:
    """Decode a TIFF and turn it upright.

    Raises UnsupportedFormat, ImageCorrupt, ImageTooLarge or ImageTooSmall, and what the codecs raise for
    damaged data.
    """
    page = find_picture(data)
    layout = read_layout(page, limits)
    orientation = page.number(Tag.ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    rgb = to_rgb(_read_samples(page, layout), layout.samples, page)
    height, width = layout.height, layout.width
    if orientation >= 5:
        height, width = width, height
    least = least_size(height, width)
    by = reduction(layout.height, layout.width, least[::-1] if orientation >= 5 else least)
    return Photo(
        rgb=turn_upright(rgb if by == 1 else average(rgb, by), orientation),
        height=height,
        width=width,
        format=Format.TIFF,
        orientation=orientation,
    )


def _read_samples(page: Directory, layout: Layout) -> Pixels:
    """Return a picture's samples in 8 bits, height x width x those wanted.

    If their scale depends on all values, decompress the picture twice, so that it need not stay in memory
    with 4 or 8 bytes for each sample.
    """
    samples = layout.samples
    ranges = _ranges(page, layout)
    out = np.empty((layout.height, layout.width, samples.wanted), np.uint8)
    for block in read_blocks(page, layout):
        for group, scale in zip(groups(samples), ranges, strict=True):
            inside = overlap(group, block.plane, block.values.shape[2])
            if inside is not None:
                values = block.values[..., inside]
                there = out[block.top :, block.left :, block.plane + inside.start : block.plane + inside.stop]
                there[: values.shape[0], : values.shape[1]] = to_bytes(values, scale)
    return out


def _ranges(page: Directory, layout: Layout) -> list[ValueRange]:
    samples = layout.samples
    fixed = fixed_range(samples)
    return [fixed] * len(groups(samples)) if fixed else find_ranges(read_blocks(page, layout), samples)
