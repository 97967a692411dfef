"""Refocused photos, from bytes to a JPEG, with maps of known planes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fathom.options import Options
from shared.jobs.job import Range
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, save
from worker.pipeline.encode.files import encode_jpeg
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.scene.focus.light import to_light

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Shape = tuple[int, int]

#: A column of the middle of the prediction, of which the left is near.
HALF = 0.5


def left_is_near(shape: Shape) -> Floats:
    """Predict two planes: what is left of the middle is near."""
    prediction = np.zeros(shape, np.float32)
    prediction[:, : int(HALF * shape[1])] = 1
    return prediction


def slope(shape: Shape) -> Floats:
    """Predict a wall: the right is far."""
    return np.tile(np.linspace(1, 0, shape[1], dtype=np.float32), (shape[0], 1))


def photo(height: int = 256, width: int = 384) -> Pixels:
    """Return a smooth gray picture with some detail."""
    noise = np.random.default_rng(5).random((height, width), np.float32)
    detail = cv2.GaussianBlur(noise, (0, 0), 2)
    gray = np.clip(128 + 700 * (detail - 0.5), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def render(rgb: Pixels, depth: Callable[[Shape], Floats], **given: Any) -> Pixels:
    engine = LuminanceEngine(lambda prediction: depth(prediction.shape))
    options = Options.parse({"outputs": ["refocus"], "edges": "smooth", "refocus": given})
    return decoded(Pipeline(engine, limits=LIMITS).render(save(rgb, "PNG"), options)[0].data)


def decoded(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)))


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_what_is_in_focus_stays_and_the_rest_is_blurred():
    rgb = photo()
    result = render(rgb, left_is_near, focus=[0.2, 0.5], aperture=4)

    assert psnr(result[:, :160], rgb[:, :160]) > 40
    assert np.array_equal(result[:, :160], decoded(encode_jpeg(rgb))[:, :160])
    assert result[:, 220:].std() < 0.4 * rgb[:, 220:].std()


@pytest.mark.parametrize(("focus", "sharp"), [(1.0, slice(0, 12)), (0.0, slice(372, 384))])
def test_a_depth_may_be_in_focus(focus: float, sharp: slice):
    rgb = photo()
    result = render(rgb, slope, focus=focus, aperture=4)
    blurred = slice(384 - sharp.stop, 384 - sharp.start)

    assert psnr(result[:, sharp], rgb[:, sharp]) > 40
    assert result[:, blurred].std() < 0.4 * rgb[:, blurred].std()


def test_a_point_is_in_focus_like_its_depth():
    rgb = photo()
    by_point = render(rgb, slope, focus=[0.75, 0.5], aperture=3)
    by_depth = render(rgb, slope, focus=0.25, aperture=3)

    assert psnr(by_point, by_depth) > 45
    assert psnr(by_point, render(rgb, slope, focus=0.75, aperture=3)) < 35


@pytest.mark.parametrize("width", [384, 1200])
def test_a_light_out_of_focus_becomes_a_disc_with_all_its_light(width: int):
    """The wider picture is blurred at half its size."""
    rgb: Pixels = np.zeros((256, width, 3), np.uint8)
    right = round(0.75 * width)
    rgb[126:130, right - 2 : right + 2] = 255

    result = to_light(render(rgb, left_is_near, focus=1.0, aperture=2))[..., 1]

    assert result.sum() == pytest.approx(16, rel=0.06)
    radius = np.sqrt((result > result.max() / 2).sum() / np.pi)
    assert radius == pytest.approx(0.02 * width, rel=0.12)


def test_a_sharp_foreground_leaves_no_halo():
    rgb = photo()
    rgb[:, :192] = 255, 0, 0
    result = render(rgb, left_is_near, focus=[0.2, 0.5], aperture=3).astype(int)
    naive = cv2.blur(rgb, (23, 23)).astype(int)

    def redness(picture: NDArray[np.int_]) -> float:
        return float((picture[:, 196:204, 0] - picture[:, 196:204, 2]).mean())

    assert redness(naive) > 25
    assert redness(result) < 3


def test_a_blurred_foreground_covers_the_edge_softly():
    rgb = photo()
    rgb[:, :192] = 255, 0, 0
    result = to_light(render(rgb, left_is_near, focus=0.0, aperture=3))
    redness = (result[..., 0] - result[..., 2]).mean(axis=0)

    # The blur has a radius of about 11 pixels.
    assert redness[:170].min() > 0.9
    assert 0.3 < redness[192] < 0.7
    assert 0.02 < redness[198] < redness[192] < redness[186] < 0.98
    assert abs(redness[215:]).max() < 0.02
    assert psnr(rgb[:, 220:], render(rgb, left_is_near, focus=0.0)[:, 220:]) > 40


def test_without_an_aperture_the_photo_stays():
    rgb = photo()

    assert psnr(render(rgb, slope, aperture=0), rgb) > 45


def test_a_constant_map_changes_nothing():
    rgb = photo()
    flat = render(rgb, lambda shape: np.ones(shape, np.float32), focus=1.0, aperture=4)

    assert np.array_equal(flat, decoded(encode_jpeg(rgb)))


def test_the_range_of_a_job_tells_what_is_in_focus():
    """Over the job's range, this photo's nearest point is no nearer than the middle."""
    rgb = photo()
    engine = LuminanceEngine(lambda prediction: slope(prediction.shape))
    given = {"outputs": ["refocus"], "edges": "smooth", "normalize": "job"}
    options = Options.parse(given | {"refocus": {"focus": 0.5, "aperture": 4}})
    pipeline = Pipeline(engine, limits=LIMITS)
    wide, flat = (
        decoded(pipeline.render(save(rgb, "PNG"), options, common=Range(low=0, high=high))[0].data)
        for high in (2, 0)
    )

    assert psnr(wide[:, :12], rgb[:, :12]) > 40
    assert wide[:, -12:].std() < 0.5 * rgb[:, -12:].std()
    assert np.array_equal(flat, decoded(encode_jpeg(rgb)))


@pytest.mark.parametrize("shape", [(32, 32), (33, 400), (1027, 65), (40, 2311), (129, 257)])
@pytest.mark.parametrize("focus", [0.0, 0.6, 1.0])
def test_every_shape_keeps_its_size_and_its_tone(shape: Shape, focus: float):
    rgb = photo(*shape)
    result = render(rgb, slope, focus=focus, aperture=4)

    assert result.shape == rgb.shape
    assert abs(to_light(result).mean() - to_light(rgb).mean()) < 0.02
