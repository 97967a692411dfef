"""A short clip that loops, in which a camera moves before the photo."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import ClipFormat, ClipOptions
from shared.errors import ClipsUnavailable
from worker.pipeline.encode.video import encode_gif, encode_mp4, encode_webp
from worker.pipeline.interruption import while_wanted
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Pixels
from worker.pipeline.scene.focus.point import nearness_in_focus
from worker.pipeline.scene.motion.behind import without_front
from worker.pipeline.scene.motion.parallax import MovingScene, Planes
from worker.pipeline.scene.motion.path import Shift, shift_at
from worker.pipeline.sizes import resize_photo
from worker.pipeline.stages import Stage

#: Animated pictures are no higher.
_PICTURE_HEIGHT = 480
#: No frame is wider: a WebP has at most 16,383 pixels a side, and encoders of H.264 take few more.
_MOST_WIDTH = 16_000
#: Frames a second whose length is a whole number of hundredths of a second.
_GIF_RATES = (25, 20, 10, 5)

#: From R'G'B' to Y'CbCr of BT.709, in the range of television (ITU-R BT.709-6, 3 and 4), with an offset.
_TO_BT709 = np.array(
    [
        [0.18258588, 0.61423059, 0.06200706, 16],
        [-0.10064373, -0.33857195, 0.43921569, 128],
        [0.43921569, -0.39894216, -0.04027352, 128],
    ],
    np.float32,
)
#: And back: the inverse of the same matrix.
_INVERSE: NDArray[np.float64] = np.linalg.inv(_TO_BT709[:, :3].astype(np.float64))
_FROM_BT709 = np.hstack([_INVERSE, -_INVERSE @ _TO_BT709[:, 3:]]).astype(np.float32)


def clip(r: Rendering) -> bytes:
    """Return the clip of a photo. Raises ClipsUnavailable for MP4 without PyAV."""
    options = r.options.clip
    height, width = _frame_size(r.photo.height, r.photo.width, options)
    rate = _rate(options)
    with r.stopwatch.time(Stage.COLOUR):
        scene, reach = _scene(r, height, width)
    shifts = _shifts(options, rate, reach, hypot(height, width) / 2)
    with r.stopwatch.time(Stage.ENCODE):
        frames = map(scene.frame, while_wanted(shifts, r.is_unwanted))
        if options.format is ClipFormat.MP4:
            try:
                return encode_mp4(frames, (height, width), rate)
            except ImportError as exc:
                raise ClipsUnavailable from exc
        encode = encode_gif if options.format is ClipFormat.GIF else encode_webp
        return encode(map(_to_rgb, frames), rate)


def _frame_size(height: int, width: int, options: ClipOptions) -> tuple[int, int]:
    """Return the even size of the frames: the photo's, or as high as asked; long panoramas are lower."""
    most = options.height if options.format is ClipFormat.MP4 else min(options.height, _PICTURE_HEIGHT)
    scale = min(1.0, most / height, _MOST_WIDTH / width)
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def _rate(options: ClipOptions) -> int:
    if options.format is not ClipFormat.GIF:
        return options.fps
    return next(rate for rate in _GIF_RATES if rate <= options.fps)


def _shifts(options: ClipOptions, rate: int, reach: float, radius: float) -> Iterator[Shift]:
    count = round(options.seconds * rate)
    return (shift_at(options.motion, number / count, reach, radius) for number in range(count))


def _scene(r: Rendering, height: int, width: int) -> tuple[MovingScene, float]:
    """Return the scene of a photo, and how many pixels the nearest point may move past the farthest."""
    options = r.options.clip
    rgb = resize_photo(r.photo.rgb, height, width)
    nearness = r.nearness(height, width, options.edge_dilation)
    reach = options.amount / 100 * width
    back = without_front(rgb, nearness, reach)
    focus = nearness_in_focus(nearness, options.focus)
    # Half of the reach to each side at most, and the focus may be at an end.
    margin = max(focus, 1 - focus) * reach / min(height, width)
    scene = MovingScene(_to_planes(rgb), _to_planes(back), nearness, focus=focus, margin=margin / 2)
    return scene, reach


def _to_planes(rgb: Pixels) -> Planes:
    height, width = rgb.shape[:2]
    full = cv2.transform(rgb, _TO_BT709)
    half = cv2.resize(full, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    y, u, v = full[..., 0], half[..., 1], half[..., 2]
    return Planes(*(np.ascontiguousarray(plane, np.uint8) for plane in (y, u, v)))


def _to_rgb(planes: Planes) -> Pixels:
    height, width = planes.y.shape
    u, v = (cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in (planes.u, planes.v))
    return np.asarray(cv2.transform(np.stack([planes.y, u, v], axis=2), _FROM_BT709), np.uint8)
