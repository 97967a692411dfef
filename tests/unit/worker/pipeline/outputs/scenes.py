"""Photos whose depth is known, for outputs that show them in space, and how they look from the camera."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fathom.options import Options
from shared.jobs.job import Range
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, save
from worker.pipeline.pipeline import Pipeline, ResultFile


def portrait(height: int = 150, width: int = 200) -> NDArray[np.uint8]:
    """Return a bright disc with a fine pattern, in the left half, before a dark one with a coarse pattern.

    Bright is near for the engine of these tests.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    near = 200 + 20 * np.sin(x / 3) * np.sin(y / 4)
    far = 50 + 15 * np.sin(x / 9) + 15 * y / height
    shape = np.hypot(x - 0.4 * width, y - 0.5 * height) < 0.3 * min(height, width)
    gray = np.where(shape, near, far)
    return np.stack([gray, gray * 0.95, gray * 0.85], axis=-1).astype(np.uint8)


def render(data: bytes, *, common: Range | None = None, **given: Any) -> ResultFile:
    """Return a photo's first result."""
    return Pipeline(LuminanceEngine(), limits=LIMITS).render(data, Options.parse(given), common=common)[0]


def render_picture(picture: NDArray[np.uint8] | Image.Image, **given: Any) -> ResultFile:
    """Return the first result of a picture, which is stored as a PNG."""
    return render(save(picture, "PNG"), **given)


def draw(
    positions: NDArray[Any],
    places: NDArray[Any],
    triangles: NDArray[Any],
    texture: NDArray[np.uint8],
    focal: float,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return what a pinhole at the origin sees of textured triangles, and how far away it is; 0 is nothing.

    `focal` is in pixels and `size` is height and width.
    """
    height, width = size
    z = -positions[:, 2].astype(np.float64)
    at = np.stack([width / 2 + focal * positions[:, 0] / z, height / 2 - focal * positions[:, 1] / z], axis=1)
    inverse, found = np.zeros(size), np.zeros((height, width, 2))
    for triangle in triangles:
        _fill(inverse, found, at[triangle], 1 / z[triangle], places[triangle].astype(np.float64))
    rows, columns = texture.shape[:2]
    u, v = ((found[..., axis] * side - 0.5).astype(np.float32) for axis, side in ((0, columns), (1, rows)))
    drawn = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    away = np.divide(1, inverse, out=np.zeros(size), where=inverse > 0)
    return np.asarray(drawn, np.uint8), away


def _fill(
    inverse: NDArray[np.float64],
    found: NDArray[np.float64],
    corners: NDArray[np.float64],
    depths: NDArray[np.float64],
    places: NDArray[np.float64],
) -> None:
    """Draw one triangle over what is farther away: 1/z is linear in a picture, and so is place/z."""
    low = np.maximum(np.ceil(corners.min(axis=0) - 0.5).astype(int), 0)
    high = np.minimum(
        np.floor(corners.max(axis=0) - 0.5).astype(int) + 1, (inverse.shape[1], inverse.shape[0])
    )
    if (low >= high).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
    c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
    shares = np.stack([1 - b - c, b, c])
    near = np.tensordot(depths, shares, axes=1)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    seen = (shares.min(axis=0) >= -1e-9) & (near > inverse[window])
    inverse[window][seen] = near[seen]
    place = np.tensordot(places.T * depths, shares, axes=1) / near
    found[window][seen] = place[:, seen].T
