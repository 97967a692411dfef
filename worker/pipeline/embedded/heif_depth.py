"""The depth image of a HEIC, as iPhones store it in portraits.

Format: ISO/IEC 23008-12 (auxiliary images), and ISO/IEC 23008-2, G.14.2.3 (depth representation information).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pillow_heif import open_heif

from worker.pipeline.decode.orientation import PILLOW_ERRORS, orientation_of_boxes
from worker.pipeline.embedded.stored import DepthUnusable, StoredDepth, shrink, smooth_levels
from worker.pipeline.photo import Floats, Limits

#: The types of an auxiliary image that is depth. A file without them is not parsed a second time.
_TYPES = (b"urn:mpeg:hevc:2015:auxid:2\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0")

#: Representations that are linear in inverse distance; Apple's is disparity.
_FORMATS = {0: "HEIF inverse distance", 1: "HEIF disparity"}
_DISPARITY = 1


def read_heif_depth(data: bytes, limits: Limits) -> StoredDepth | None:
    """Return the first depth image of a HEIF. Raises DepthUnusable, ImageTooLarge or ImageTooSmall."""
    if not any(kind in data for kind in _TYPES):
        return None
    try:
        file: Any = open_heif(data)
        image = file[file.primary_index]
        depths = image.info["depth_images"]
        return _read(image, depths[0], limits) if depths else None
    except PILLOW_ERRORS as exc:
        raise DepthUnusable("It is damaged.") from exc


def _read(image: Any, depth: Any, limits: Limits) -> StoredDepth:
    width, height = depth.size
    limits.check_size(height, width)
    kind = (depth.info["metadata"] or {}).get("representation_type", _DISPARITY)
    if kind not in _FORMATS:
        raise DepthUnusable("Its values are not linear in inverse distance.")
    values = _values(depth)
    # libheif turns it by boxes of its own. Where only the photo has some, they are meant for both.
    own, photos = depth._c_image.transformations, image._c_image.transformations
    left = orientation_of_boxes(photos) if orientation_of_boxes(own) == 1 else 1
    return StoredDepth(values=values, format=_FORMATS[kind], orientation=left)


def _values(depth: Any) -> Floats:
    data = depth.data
    width, height = depth.size
    samples = np.dtype(np.uint8 if depth.mode == "L" else "<u2")
    stored = np.ndarray((height, width), samples, data, strides=(depth.stride, samples.itemsize))
    values = shrink(stored.astype(np.float32))
    return smooth_levels(values) if samples == np.uint8 else values
