"""Find the depth that a phone stored in a photo: in the XMP of a JPEG, or as the depth image of a HEIC."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fathom.photos.formats import Format
from shared.errors import ImageError
from worker.pipeline.decode.pixels import turn_map_upright
from worker.pipeline.embedded.gdepth import read_gdepth
from worker.pipeline.embedded.heif_depth import read_heif_depth
from worker.pipeline.embedded.stored import DepthUnusable, StoredDepth
from worker.pipeline.photo import Floats, Limits, Photo

#: The bounds of a map before it is shrunk, in pixels.
_MOST_PIXELS, _LEAST_SIDE = 20_000_000, 16

#: How much the shapes of photo and map may differ: sizes are rounded, and borders cropped.
_MOST_STRETCH = 1.1


@dataclass(frozen=True, kw_only=True)
class EmbeddedDepth:
    """A photo's own depth."""

    #: Relative inverse depth, upright, float32, h x w: bigger is nearer.
    values: Floats
    #: How the photo held it.
    format: str


def find_depth(data: bytes, photo: Photo, limits: Limits) -> EmbeddedDepth | None:
    """Return the depth that a photo holds, None if it holds none. Raises DepthUnusable."""
    limits = replace(
        limits, max_pixels=min(limits.max_pixels, _MOST_PIXELS), min_side=min(limits.min_side, _LEAST_SIDE)
    )
    try:
        stored = _read(data, photo, limits)
    except ImageError as exc:
        raise DepthUnusable(exc.message) from exc
    return _checked(stored, photo) if stored else None


def _read(data: bytes, photo: Photo, limits: Limits) -> StoredDepth | None:
    if photo.format is Format.JPEG:
        return read_gdepth(data, limits)
    if photo.format is Format.HEIF:
        return read_heif_depth(data, limits)
    return None


def _checked(stored: StoredDepth, photo: Photo) -> EmbeddedDepth:
    turn = photo.orientation if stored.orientation is None else stored.orientation
    values = turn_map_upright(stored.values, turn)
    height, width = values.shape
    stretch = (height / width) / (photo.height / photo.width)
    if not 1 / _MOST_STRETCH < stretch < _MOST_STRETCH:
        raise DepthUnusable(f"It has {width} x {height} pixels, which is not the shape of the photo.")
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise DepthUnusable("It is the same everywhere.")
    return EmbeddedDepth(values=np.ascontiguousarray(values), format=stored.format)
