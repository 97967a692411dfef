"""Whether a peer's heatmaps are heatmaps: all of them there, of the photos' sizes, and of their depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

#: Heatmaps are compared at this size, longer side: coarse enough for JPEG's losses not to count.
_LONG_SIDE = 160

#: Levels of 255 by which heatmaps may differ from Fathom's: on average over an album, and over one photo.
#: bf16 moves single photos by up to 6; a heatmap of another photo, or upside down, is off by 25 and more.
ALLOWED_MEAN = 4.0
ALLOWED_PHOTO = 12.0

#: How far colours may lie from Inferno's, of 255 a channel, on average. Averaging moves rough maps' by 7;
#: the colours of Magma, the most similar, are 20 and more away.
_ALLOWED_COLOUR = 12.0
#: The least span of levels. Every heatmap is stretched over its own range; averaging leaves this much of it.
_LEAST_SPAN = 100

#: The shares of blue, green and red in brightness (ITU-R BT.601).
_LUMA = np.array([0.114, 0.587, 0.299], np.float32)


class WrongHeatmap(Exception):
    """A peer's output is not what it must be."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the heatmap of a photo must be like."""

    height: int
    width: int
    #: None if the peer's network is not Fathom's.
    levels: NDArray[np.float32] | None


def read_levels(jpeg: bytes) -> NDArray[np.float32]:
    """Return the grey levels, 0 to 255, that a heatmap was coloured from, at a small size.

    Raises WrongHeatmap if the colours are not Inferno's, or span too little of it.
    """
    height, width = read_size(jpeg)
    scale = _LONG_SIDE / max(height, width)
    rows, columns = round(scale * height), round(scale * width)
    bgr = simplejpeg.decode_jpeg(jpeg, "BGR", min_height=rows, min_width=columns)
    small = cv2.resize(bgr, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Inferno grows brighter from level to level, so that brightness alone tells the level.
    levels = np.clip(np.searchsorted(_inferno() @ _LUMA, small @ _LUMA), 0, 255)
    if np.linalg.norm(small - _inferno()[levels], axis=2).mean() > _ALLOWED_COLOUR:
        raise WrongHeatmap("its colours are not Inferno's")
    if np.ptp(levels) < _LEAST_SPAN:
        raise WrongHeatmap(f"it spans {np.ptp(levels)} levels of 255")
    return np.asarray(levels, np.float32)


def read_size(jpeg: bytes) -> tuple[int, int]:
    """Return height and width. Raises WrongHeatmap if it is no JPEG."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as exc:
        raise WrongHeatmap("it is no JPEG") from exc
    return height, width


@cache
def _inferno() -> NDArray[np.float32]:
    """Return Inferno's colours, 256 x 3, as BGR."""
    ramp = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, 0], np.float32)


def judge(out: Path, expected: Mapping[str, Expected]) -> float | None:
    """Return by how many levels, on average, the heatmaps differ from Fathom's; None if they should.

    `expected` is by file name. Raises WrongHeatmap if any is missing or wrong.
    """
    offs = []
    for name, what in expected.items():
        try:
            offs.append(_judge_one(out / name, what))
        except WrongHeatmap as exc:
            raise WrongHeatmap(f"{out / name}: {exc}.") from exc
    known = [off for off in offs if off is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    if mean > ALLOWED_MEAN:
        raise WrongHeatmap(f"{out}: on average the heatmaps differ from Fathom's by {mean:.1f} levels.")
    return mean


def _judge_one(path: Path, expected: Expected) -> float | None:
    if not path.exists():
        raise WrongHeatmap("it is missing")
    data = path.read_bytes()
    levels, size = read_levels(data), read_size(data)
    if size != (expected.height, expected.width):
        raise WrongHeatmap(f"it has {size[1]} x {size[0]} pixels, not {expected.width} x {expected.height}")
    if expected.levels is None:
        return None
    off = float(np.abs(levels - expected.levels).mean())
    if off > ALLOWED_PHOTO:
        raise WrongHeatmap(f"it differs from Fathom's by {off:.1f} levels")
    return off
