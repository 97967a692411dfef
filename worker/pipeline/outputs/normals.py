"""Normals of the surface that a camera sees, as colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import NormalsFormat, NormalsOptions
from worker.pipeline.encode.files import encode_rgb_png
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Floats
from worker.pipeline.scene.camera import Camera, camera_of, inverse_distances
from worker.pipeline.snapped import linear_taps
from worker.pipeline.stages import Stage

#: Normals are computed at about this many pixels along the longer side, and interpolated from there: between
#: the cells of a prediction of 256, and its edges, there is no more to know.
_WORKING_SIDE = 768

#: The sides of the windows to which planes are fitted, in cells of the prediction.
_WINDOW_CELLS = 5

#: Inverse distances may lie so far from their plane, by noise.
_NOISE = np.float32(0.01)

#: Rows of the file made at a time.
_STRIP_ROWS = 64


def normals(r: Rendering) -> bytes:
    """Return camera-space normals: red is right, green up (or down, for DirectX), blue towards the viewer.

    -1 to 1 is mapped to 0 to 255, or 65535. The surface has inverse distances of 1 at the nearest point and
    1 / depth_ratio at the farthest, linear in relative inverse depth between them.
    """
    chosen = r.options.normals
    with r.stopwatch.time(Stage.COLOUR):
        directions = _normals(r, chosen)
        if chosen.format is NormalsFormat.DIRECTX:
            directions[..., 1] *= -1
        colours = _to_integers(directions, chosen.bits)
    with r.stopwatch.time(Stage.ENCODE):
        return encode_rgb_png(_enlarge(colours, *r.depth.shape), r.depth.shape, chosen.bits)


def _normals(r: Rendering, chosen: NormalsOptions) -> Floats:
    """Return unit normals, float32, h x w x 3, at the working size."""
    height, width = r.depth.shape
    rows, columns = r.depth.upsampler.cells
    cells = max(rows, columns)
    step = max(1, min(_WORKING_SIDE // cells, -(-max(height, width) // cells)))
    inverse = inverse_distances(r.nearness(rows * step, columns * step), chosen.depth_ratio)
    slopes = _slopes(inverse, step)
    right, down = slopes[..., 0] * (columns * step / width), slopes[..., 1] * (rows * step / height)
    return _normals_of(inverse, right, down, camera_of(r.source, height, width, chosen.fov))


def _slopes(values: Floats, step: int) -> Floats:
    """Return how much values grow to the right and downwards, per pixel, h x w x 2.

    A prediction is noisy, rings beside edges, and its cubic interpolation bends straight ramps. So planes are
    fitted to windows of several cells. As in the filter of Nagao and Matsuyama (Edge preserving smoothing,
    1979), a pixel belongs to nine windows, some of which cross no edge: they count by how well they fit.
    """
    reach = (min(_WINDOW_CELLS * step + 1, *values.shape) - 1) // 2
    if reach < 1:
        return np.zeros((*values.shape, 2), np.float32)
    # Around their middle, constant values have a slope of exactly 0.
    planes = _weighted_planes(values - (values.min() + values.max()) / 2, reach)
    # The windows of pixels at the border are those that lie within the picture.
    around = np.pad(planes, ((2 * reach,) * 2, (2 * reach,) * 2, (0, 0)), mode="edge")
    total = _sum_of_three(_sum_of_three(around, reach).transpose(1, 0, 2), reach).transpose(1, 0, 2)
    return np.asarray(total[..., :2] / total[..., 2:], np.float32)


def _weighted_planes(values: Floats, reach: int) -> Floats:
    """Return for each window within the picture both slopes of its plane times its weight, and its weight."""
    side = 2 * reach + 1
    box = np.full(side, 1 / side, np.float32)
    places = np.arange(-reach, reach + 1, dtype=np.float32)
    spread = np.float32((places**2).mean())
    within = slice(reach, -reach)
    mean, right, down, square = (
        np.asarray(cv2.sepFilter2D(of, cv2.CV_32F, across, along), np.float32)[within, within]
        for of, across, along in (
            (values, box, box),
            (values, places * box / spread, box),
            (values, box, places * box / spread),
            (values * values, box, box),
        )
    )
    residual = np.maximum(square - mean**2 - (right**2 + down**2) * spread, 0)
    weight = (residual + _NOISE**2) ** -2 * _NOISE**4
    return np.stack([right * weight, down * weight, weight], axis=-1)


def _sum_of_three(planes: NDArray[Any], reach: int) -> Floats:
    """Add rows `reach` above and below, of which `2 * reach` are then missing in all."""
    end = planes.shape[0]
    return np.asarray(
        planes[: end - 2 * reach] + planes[reach : end - reach] + planes[2 * reach :], np.float32
    )


def _normals_of(inverse: Floats, right: Floats, down: Floats, camera: Camera) -> Floats:
    """Return the unit normals of a surface of these inverse distances and their slopes.

    The inverse distance of a plane is linear in the picture: at the ray (x/f, -y/f, -1) it is n * ray / d for
    the plane n * point = d. So its slopes are n_x / (d f) and -n_y / (d f), and its value on the axis is
    -n_z / d. The normal that looks at the camera has d < 0.
    """
    rows, columns = inverse.shape
    x = ((np.arange(columns) + 0.5) / columns - 0.5) * camera.width
    y = ((np.arange(rows) + 0.5) / rows - 0.5) * camera.height
    on_axis = inverse - right * x.astype(np.float32) - down * y.astype(np.float32)[:, np.newaxis]
    focal = np.float32(camera.focal)
    directions = np.stack([-focal * right, focal * down, on_axis], axis=-1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.asarray(directions, np.float32)


def _to_integers(directions: Floats, bits: int) -> NDArray[Any]:
    half = np.float32((2**bits - 1) / 2)
    return np.asarray(np.rint(directions * half + half), np.uint8 if bits == 8 else np.uint16)


def _enlarge(colours: NDArray[Any], height: int, width: int) -> Iterator[NDArray[Any]]:
    """Yield strips of a picture at another size, interpolated linearly, each valid until the next."""
    rows = colours.shape[0]
    wide = cv2.resize(colours, (width, rows), interpolation=cv2.INTER_LINEAR)
    taps, weights = linear_taps(rows, height)
    strip = np.empty((_STRIP_ROWS, width, 3), colours.dtype)
    for top in range(0, height, _STRIP_ROWS):
        count = min(_STRIP_ROWS, height - top)
        for row in range(count):
            (first, second), (near, far) = taps[top + row], weights[top + row]
            cv2.addWeighted(wide[first], float(near), wide[second], float(far), 0, dst=strip[row])
        yield strip[:count]
