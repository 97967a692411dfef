"""Which outputs there are, what of the photo each needs, and how each is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fathom.options import MAPS, Options, Output, Size
from fathom.photos.formats import Format
from worker.pipeline.outputs import (
    clip,
    cloud,
    comparison,
    embedded,
    exr,
    layers,
    maps,
    mesh,
    normals,
    refocus,
    stereo,
)
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import LeastSize, Photo, full_size

#: How each result is made, by its name (fathom.result_names.output_files).
_MAKERS: dict[str, Callable[[Rendering], bytes]] = {
    Output.HEATMAP: maps.heatmap,
    Output.DEPTH16: maps.depth16,
    Output.PFM: maps.pfm,
    Output.NPY: maps.npy,
    Output.COMPARISON: comparison.comparison,
    Output.THUMBNAIL: comparison.thumbnail,
    Output.EXR: exr.exr,
    Output.NORMALS: normals.normals,
    Output.CONTROLNET: maps.controlnet,
    Output.REFOCUS: refocus.refocus,
    Output.EMBEDDED: embedded.embedded,
    Output.CLIP: clip.clip,
    Output.STEREO: stereo.stereo,
    "stereo_left": stereo.stereo_left,
    "stereo_right": stereo.stereo_right,
    Output.MESH: mesh.mesh,
    Output.CLOUD: cloud.cloud,
    Output.LAYERS: layers.layers,
    "labels": layers.labels,
}

#: Outputs that show pixels of the photo.
_SHOW_THE_PHOTO = {Output.THUMBNAIL, Output.COMPARISON} | (frozenset(Output) - MAPS)


def make(name: str, rendering: Rendering) -> bytes:
    """Return the file of one result."""
    return _MAKERS[name](rendering)


def least_size_for(options: Options, network_size: LeastSize, found: Format | None) -> LeastSize:
    """Return how small a photo of a format may be decoded for these options.

    That is twice the network's input, so that resizing to it still averages; at least the thumbnail's size
    if one is wanted; and the full size if a result shows the photo at full size.
    """
    shown = _shown(options, found)
    if shown - {Output.THUMBNAIL} and options.size is Size.ORIGINAL:
        return full_size
    small = comparison.thumbnail_size if Output.THUMBNAIL in shown else _nothing

    def least_size(height: int, width: int) -> tuple[int, int]:
        network, thumbnail = network_size(height, width), small(height, width)
        return max(2 * network[0], thumbnail[0]), max(2 * network[1], thumbnail[1])

    return least_size


def release_pixels(photo: Photo, options: Options) -> Photo:
    """Return the photo without its pixels if no output shows them, to free their memory."""
    if _shown(options, photo.format):
        return photo
    return replace(photo, rgb=np.empty((0, 0, 3), np.uint8))


def _shown(options: Options, found: Format | None) -> frozenset[Output]:
    """Return the outputs that show pixels of a photo. A JPEG with depth inside is the photo's own file."""
    shown = frozenset(_SHOW_THE_PHOTO).intersection(options.outputs)
    return shown - {Output.EMBEDDED} if found is Format.JPEG else shown


def _nothing(height: int, width: int) -> tuple[int, int]:
    return 0, 0


def made_results() -> frozenset[str]:
    """Return the names of the results that `make` knows."""
    return frozenset(_MAKERS)
