"""The photo as a JPEG that carries its depth map, for viewers that move or blur photos by it."""

from __future__ import annotations

import numpy as np

from fathom.photos.formats import Format
from worker.pipeline.decode.pixels import lay_as_stored
from worker.pipeline.embedded.gdepth import with_depth
from worker.pipeline.encode.files import JPEG_MAX_SIDE, encode_gray_png, encode_jpeg
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.scene.camera import DEPTH_RATIO, NEAR
from worker.pipeline.sizes import fit, resize_photo
from worker.pipeline.stages import Stage

#: The longer side of the stored map in pixels. Readers stretch it over the photo.
_MAP_SIDE = 1024


def embedded(r: Rendering) -> bytes:
    """Return the photo's own JPEG, of which only the XMP changes; other photos are encoded as one, upright.

    The map is an 8-bit grey PNG, 0 at the nearest point. Readers turn it with the photo, so it lies as the
    photo is stored. A photo whose own map is used is returned as it came, for that may have metres.
    """
    if r.photo.format is Format.JPEG and r.embedded_format is not None:
        return r.source
    height, width = fit(r.photo.height, r.photo.width, _MAP_SIDE)
    with r.stopwatch.time(Stage.COLOUR):
        farness = 1 - r.nearness(height, width)
    with r.stopwatch.time(Stage.ENCODE):
        own = r.photo.format is Format.JPEG
        if own:
            farness = lay_as_stored(farness, r.photo.orientation)
        stored = np.rint(farness * 255).astype(np.uint8)
        properties = {
            "Format": "RangeInverse",
            "Near": f"{NEAR:g}",
            "Far": f"{NEAR * DEPTH_RATIO:g}",
            "Mime": "image/png",
            "Software": "Fathom",
        }
        jpeg = r.source if own else _encode(r)
        return with_depth(jpeg, properties, encode_gray_png([stored], stored.shape))


def _encode(r: Rendering) -> bytes:
    height, width = fit(r.photo.height, r.photo.width, JPEG_MAX_SIDE)
    return encode_jpeg(resize_photo(r.photo.rgb, height, width))
