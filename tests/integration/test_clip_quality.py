"""Clips of real photographs with real depth. Its fast sibling is tests/unit/.../scene/motion/test_parallax.py."""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import hypot
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fathom.options import Motion, Options
from shared.settings import Settings
from worker.model.engines import load_engine
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.scene.motion.parallax import MovingScene, Planes
from worker.pipeline.scene.motion.path import shift_at

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PHOTOS = [
    path
    for folder in (ROOT / "samples", ROOT / "api" / "static" / "samples")
    for path in sorted(folder.rglob("*"))
    if path.suffix.lower() == ".jpg"
]
#: What a step of a pixel is in the pictures of these tests, in levels.
STEP = 8
FOCUS, FRAMES = 0.3, 12


@pytest.fixture(scope="module")
def pipeline(cache_dir: Path) -> Pipeline:
    settings = Settings.from_environ({"FATHOM_WEIGHTS": "starter", "FATHOM_CACHE_DIR": str(cache_dir)})
    return Pipeline.from_settings(load_engine(settings), settings)


def nearness_of(pipeline: Pipeline, path: Path) -> NDArray[np.float32]:
    """The nearness of a photo, 0 to 1, of an even size, a little wider where it is near, as in clips."""
    npy = pipeline.render(path.read_bytes(), Options.parse({"outputs": "npy"}))[0].data
    depth = np.load(io.BytesIO(npy))
    depth = depth[: depth.shape[0] // 2 * 2, : depth.shape[1] // 2 * 2]
    near = (depth - depth.min()) / (depth.max() - depth.min())
    return np.asarray(cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))), np.float32)


def sawtooth(shape: tuple[int, int], axis: int) -> NDArray[np.uint8]:
    """A picture that rises by a step with each pixel along an axis, and begins again after 32 pixels."""
    places = np.indices(shape)[axis]
    return np.asarray(places % 32 * STEP, np.uint8)


def triangles(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture that rises and falls by a step with each pixel of a row."""
    return np.abs(sawtooth(shape, 1).astype(np.int16) - 16 * STEP).astype(np.uint8)


def frames(
    nearness: NDArray[np.float32], motion: Motion, y: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.int16], NDArray[np.bool_]]]:
    """Each frame of a picture, and which of its pixels are of the photo and not of what is behind."""
    height, width = nearness.shape
    chroma = np.zeros((height // 2, width // 2), np.uint8)
    front, back = Planes(y, chroma, chroma), Planes(y, chroma + 255, chroma + 255)
    scene = MovingScene(front, back, nearness, focus=FOCUS, margin=0.0)
    for number in range(FRAMES):
        shift = shift_at(motion, number / FRAMES, 0.02 * width, hypot(height, width) / 2)
        frame = scene.frame(shift)
        yield frame.y.astype(np.int16), frame.u.repeat(2, 0).repeat(2, 1) == 0


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_less_than_a_hundredth_of_the_pixels_is_stretched_threefold(pipeline: Pipeline, path: Path) -> None:
    nearness = nearness_of(pipeline, path)

    for motion in Motion:
        for axis in (0, 1):
            for y, is_front in frames(nearness, motion, sawtooth(nearness.shape, axis)):
                stretched = np.abs(np.diff(y, axis=axis)) < STEP / 3
                assert (stretched & np.delete(is_front, 0, axis)).mean() < 0.01


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_what_does_not_move_does_not_shimmer(pipeline: Pipeline, path: Path) -> None:
    nearness = nearness_of(pipeline, path)
    around = np.ones((9, 9), np.uint8)
    moves = np.abs(nearness - FOCUS) * 0.02 * nearness.shape[1]
    rests = cv2.dilate(moves, around) < 0.05

    last = None
    for y, is_front in frames(nearness, Motion.SWAY, triangles(nearness.shape)):
        still = rests & (cv2.erode(is_front.astype(np.uint8), around) > 0)
        if last is not None:
            assert np.abs(y - last[0])[still & last[1]].max(initial=0) <= 1
        last = y, still
