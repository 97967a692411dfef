"""What an expert does around the network: the cheapest decoding, resizing and encoding he finds.

turbojpeg decodes at a reduced size and encodes; OpenCV resizes and colours. Photos are upright:
their EXIF is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from worker.model.preprocess import MEAN, STD, network_size

_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class ExpertPhoto:
    """A photo as the network takes it, and the height and width of its heatmap."""

    batch: NDArray[np.float32]
    size: tuple[int, int]


def read_photo(data: bytes) -> ExpertPhoto:
    """Decode a JPEG for the network, 1 x 3 x h x w.

    Twice the size of the network's input keeps the depth within 0.5 % of what Fathom finds; once, within 2 %.
    """
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    rows, columns = network_size(height, width)
    rgb = simplejpeg.decode_jpeg(data, "RGB", min_height=2 * rows, min_width=2 * columns)
    resized = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_CUBIC)
    scaled = (resized * (1 / (255 * STD)) - MEAN / STD).astype(np.float32)
    batch = np.ascontiguousarray(scaled.transpose(2, 0, 1)[np.newaxis])
    return ExpertPhoto(batch=batch, size=(height, width))


def draw_heatmap(prediction: NDArray[np.float32], size: tuple[int, int]) -> bytes:
    """Enlarge relative inverse depth, h x w, to a photo's size, and encode it as a JPEG in Inferno."""
    height, width = size
    depth = cv2.resize(prediction, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = np.empty(size, np.uint8)
    cv2.normalize(depth, grey, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    coloured = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
    encoded: bytes = simplejpeg.encode_jpeg(
        coloured, quality=_QUALITY, colorspace="BGR", colorsubsampling="420"
    )
    return encoded
