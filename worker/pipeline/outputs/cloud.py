"""The photo as points in space: a PLY."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Axes
from worker.pipeline.edges import shrink
from worker.pipeline.encode.ply import encode_ply
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Floats
from worker.pipeline.scene.camera import Camera, camera_of, distances
from worker.pipeline.scene.surface.relief import STEP, without_rims
from worker.pipeline.stages import Stage

#: A point is on a ramp, and so on no surface, if it is farther from both ends than this share of the step.
_ON_A_RAMP = 0.1


def cloud(r: Rendering) -> bytes:
    """Return a PLY with a point for each pixel, or for each of a regular grid of fewer."""
    options = r.options.cloud
    height, width = grid_of(r.photo.height, r.photo.width, options.points)
    with r.stopwatch.time(Stage.UPSAMPLE):
        nearness = without_rims(r.nearness(height, width))
    with r.stopwatch.time(Stage.ENCODE):
        kept = np.flatnonzero(~on_ramps(nearness))
        colours = shrink(r.photo.rgb, height, width).reshape(-1, 3)[kept]
        camera = camera_of(r.source, r.photo.height, r.photo.width, options.fov)
        away = distances(nearness, options.depth_ratio)
        positions = _positions(away, kept, camera, -1 if options.axes is Axes.OPENGL else 1)
        return encode_ply(positions, colours, _comments(options.axes, options.depth_ratio))


def grid_of(height: int, width: int, points: int) -> tuple[int, int]:
    """Return the largest grid of a photo's shape with at most so many points, and no more than its pixels."""
    scale = min(1.0, (points / (height * width)) ** 0.5)
    rows = max(1, min(points, int(scale * height)))
    return rows, max(1, min(points // rows, int(scale * width)))


def on_ramps(nearness: Floats) -> NDArray[np.bool_]:
    """Return which points lie between two surfaces, on the ramp of a step from one to the other."""
    around = np.ones((5, 5), np.uint8)
    low, high = cv2.erode(nearness, around), cv2.dilate(nearness, around)
    step = high - low
    margin = np.minimum(high - nearness, nearness - low)
    return np.asarray((step > STEP) & (margin > np.float32(_ON_A_RAMP) * step), np.bool_)


def _positions(away: Floats, kept: NDArray[np.intp], camera: Camera, sign: int) -> Floats:
    """Return where the points kept are in space, n x 3, with y and z downwards and forwards times `sign`."""
    height, width = away.shape
    x = ((np.arange(width, dtype=np.float32) + np.float32(0.5)) / width - np.float32(0.5)) * camera.width
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) / height - np.float32(0.5)) * camera.height
    rows, columns = np.divmod(kept, width)
    z = away.ravel()[kept]
    places = np.empty((kept.size, 3), np.float32)
    places[:, 0] = z * (x / np.float32(camera.focal))[columns]
    places[:, 1] = z * (y * np.float32(sign / camera.focal))[rows]
    places[:, 2] = z * np.float32(sign)
    return places


def _comments(axes: Axes, ratio: float) -> tuple[str, ...]:
    return (
        "Fathom",
        "y up, -z forward" if axes is Axes.OPENGL else "y down, z forward",
        f"relative depth without a unit: the nearest point is at distance 1, the farthest at {ratio:g}",
    )
