"""Stereo views through the pipeline, with an engine whose prediction the test draws."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from fathom.options import Eyes, Options, StereoLayout, StereoOptions
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, draw_whole, save
from worker.pipeline.outputs.stereo import MAX_VIEW_SIDE, view_size, viewpoints
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.scene.stereo.view import View
from worker.pipeline.scene.stereo.warp import find_shifts

HEIGHT, WIDTH = 300, 400

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def smooth_texture(height: int = HEIGHT, width: int = WIDTH, seed: int = 5) -> Pixels:
    """A picture with detail everywhere that a JPEG keeps: fine in brightness, coarse in colour."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.random((height, width, 1), np.float32), (0, 0), 2)[..., np.newaxis]
    coarse = cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 12)
    parts = [(part - part.min()) / (part.max() - part.min()) for part in (fine, coarse)]
    return np.asarray(np.rint(180 * parts[0] + 75 * parts[1]), np.uint8)


def gray_texture() -> Pixels:
    return smooth_texture()[..., :1].repeat(3, 2)


def bump(shape: tuple[int, ...]) -> Floats:
    """A hill, near at its top, over the whole picture."""
    y, x = np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1])
    return np.exp(-2 * (y[:, np.newaxis] ** 2 + x**2)).astype(np.float32)


def near_middle(shape: tuple[int, ...]) -> Floats:
    """A near plane in the middle, before a far one."""
    height, width = shape
    nearness = np.zeros(shape, np.float32)
    nearness[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    return nearness


def near_left(shape: tuple[int, ...]) -> Floats:
    """Near at the left border, far at the right one."""
    return np.linspace(1, 0, shape[1], dtype=np.float32)[np.newaxis].repeat(shape[0], 0)


def render(
    photo: Pixels | bytes, nearness: Any = bump, *, edges: str = "smooth", **stereo: Any
) -> dict[str, Any]:
    data = photo if isinstance(photo, bytes) else save(photo, "PNG")
    engine = LuminanceEngine(lambda prediction: nearness(prediction.shape))
    options = Options.parse({"outputs": ["stereo"], "edges": edges, "stereo": stereo})
    files = Pipeline(engine, limits=LIMITS).render(data, options)
    return {file.output: file for file in files}


def pixels(file: Any) -> Pixels:
    image = Image.open(io.BytesIO(file.data))
    assert image.mode == "RGB"
    return np.asarray(image)


def render_one(photo: Pixels | bytes, nearness: Any = bump, **stereo: Any) -> Pixels:
    return pixels(render(photo, nearness, **stereo)["stereo"])


def render_pair(photo: Pixels | bytes, nearness: Any = bump, **stereo: Any) -> tuple[Pixels, Pixels]:
    files = render(photo, nearness, layout="pair", **stereo)
    return pixels(files["stereo_left"]), pixels(files["stereo_right"])


def psnr(one: Pixels, other: Pixels) -> float:
    return float(cv2.PSNR(one, other))


# --- geometry ---------------------------------------------------------------


def mark_of(view: Pixels) -> float:
    """Return the column of the middle of the red mark."""
    weight = view[..., 0].astype(float).sum(axis=0)
    return float((weight * np.arange(len(weight))).sum() / weight.sum())


@pytest.mark.parametrize("eyes", ["both", "left", "right"])
@pytest.mark.parametrize("convergence", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("divergence", [1.0, 2.5, 5.0])
def test_disparity_is_as_many_percent_of_the_width_as_asked_for(
    divergence: float, convergence: float, eyes: str
) -> None:
    options = StereoOptions(divergence=divergence, convergence=convergence, eyes=Eyes(eyes))
    found = []
    for level in (0.0, 1.0):
        photo = np.zeros((40, WIDTH, 3), np.uint8)
        photo[:, 198:203, 0] = 255
        nearness = np.full((40, WIDTH), level, np.float32)
        left, right = (
            draw_whole(View(photo, find_shifts(nearness, eye), eye)) for eye in viewpoints(options)
        )
        found.append(mark_of(left) - mark_of(right))
    far, near = found

    # Near points have the larger x in the left eye's picture: they stand out of the screen.
    assert far == pytest.approx(-convergence * divergence / 100 * WIDTH, abs=0.05)
    assert near == pytest.approx((1 - convergence) * divergence / 100 * WIDTH, abs=0.05)


@pytest.mark.parametrize(("eyes", "still"), [("left", 1), ("right", 0)])
def test_with_one_new_view_the_other_is_the_photo_cut_to_the_same_frame(eyes: str, still: int) -> None:
    photo = smooth_texture()
    views = render_pair(photo, near_left, eyes=eyes, divergence=4)
    margin = viewpoints(StereoOptions(eyes=Eyes(eyes), divergence=4))[0].margin
    box = np.array(
        [[1 - 2 * margin, 0, margin * WIDTH - margin], [0, 1 - 2 * margin, margin * HEIGHT - margin]]
    )
    cut = cv2.warpAffine(photo, box, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    assert psnr(views[still], np.asarray(cut, np.uint8)) > 38
    assert psnr(views[1 - still], np.asarray(cut, np.uint8)) < 25


@pytest.mark.parametrize("edges", ["smooth", "snap"])
def test_without_divergence_both_views_are_the_photo(edges: str) -> None:
    photo = smooth_texture()
    left, right = render_pair(photo, divergence=0, edges=edges)

    assert psnr(left, photo) > 45
    assert psnr(right, photo) > 45


def test_no_view_shows_columns_that_nobody_saw() -> None:
    # A photo whose columns are numbered, between dark ones at its borders.
    photo = np.zeros((64, WIDTH, 3), np.uint8)
    photo[:] = np.linspace(20, 240, WIDTH)[np.newaxis, :, np.newaxis]
    for nearness in (near_left, lambda shape: near_left(shape)[:, ::-1]):
        for view in render_pair(photo, nearness, divergence=5, convergence=0.5, edge_dilation=0):
            steps = np.diff(view[32].mean(axis=1))

            # Where invented, columns repeat or run backward.
            assert steps[:8].mean() > 0.3
            assert steps[-8:].mean() > 0.3


def test_semi_global_matching_finds_our_depth_again() -> None:
    photo = smooth_texture()
    left, right = render_pair(photo, bump, divergence=5, convergence=0, edge_dilation=0)
    matcher = cv2.StereoSGBM.create(
        minDisparity=0, numDisparities=32, blockSize=5, P1=8 * 75, P2=32 * 75, uniquenessRatio=5
    )
    gray = [cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) for view in (left, right)]
    disparity = matcher.compute(*gray) / 16
    matched = disparity > 0
    matched[:, :40] = False
    expected = cv2.resize(bump((192, 256)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    expected = (expected - expected.min()) / (expected.max() - expected.min())

    assert matched.mean() > 0.7
    assert np.corrcoef(disparity[matched], expected[matched])[0, 1] >= 0.95
    assert np.abs(disparity[matched] - 0.05 * WIDTH * expected[matched]).mean() < 0.75


def test_what_comes_into_sight_has_no_colour_of_the_foreground() -> None:
    photo = smooth_texture()
    photo[..., 0] = 0
    inside = near_middle((HEIGHT, WIDTH)) > 0
    photo[inside] = (255, 40, 40)
    views = render_pair(photo, near_middle, edges="snap", divergence=4, edge_dilation=1)

    for view in views:
        red = view[..., 0] > 128
        rows = slice(HEIGHT // 4 + 8, 3 * HEIGHT // 4 - 8)
        assert np.abs(red[rows].sum(axis=1) - WIDTH / 2 / 0.96).max() <= 8
        # One piece: none of it stayed behind.
        assert (np.abs(np.diff(red[rows].astype(int), axis=1)).sum(axis=1) == 2).all()


# --- layouts ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        ("sbs_full", (301, 802)),
        ("sbs_half", (301, 402)),
        ("tb_full", (602, 401)),
        ("tb_half", (302, 401)),
        ("cross", (301, 802)),
        ("anaglyph", (301, 401)),
        ("rgbd", (301, 802)),
    ],
)
def test_every_layout_has_its_size(layout: str, size: tuple[int, int]) -> None:
    assert render_one(smooth_texture(301, 401), layout=layout).shape == (*size, 3)


def test_a_pair_is_two_files_of_the_size_of_the_photo() -> None:
    files = render(smooth_texture(301, 401), layout="pair")

    assert {name: files[name].file_name for name in files if name != "depth"} == {
        "stereo_left": "stereo_left.jpg",
        "stereo_right": "stereo_right.jpg",
    }
    assert pixels(files["stereo_left"]).shape == pixels(files["stereo_right"]).shape == (301, 401, 3)


def test_views_lie_where_their_layouts_say() -> None:
    photo = smooth_texture()
    left, right = render_pair(photo, near_left, divergence=5)
    assert psnr(left, right) < 25

    sbs = render_one(photo, near_left, divergence=5)
    assert psnr(sbs[:, :WIDTH], left) > 40
    assert psnr(sbs[:, WIDTH:], right) > 40
    cross = render_one(photo, near_left, divergence=5, layout="cross")
    assert psnr(cross[:, :WIDTH], right) > 40
    assert psnr(cross[:, WIDTH:], left) > 40
    stacked = render_one(photo, near_left, divergence=5, layout="tb_full")
    assert psnr(stacked[:HEIGHT], left) > 38
    assert psnr(stacked[HEIGHT:], right) > 38


@pytest.mark.parametrize(
    ("layout", "first", "second"),
    [
        ("sbs_half", np.s_[:, :200], np.s_[:, 200:]),
        ("tb_half", np.s_[:150], np.s_[150:]),
    ],
)
def test_half_layouts_squeeze_each_view(layout: str, first: Any, second: Any) -> None:
    photo = np.asarray(cv2.GaussianBlur(smooth_texture(), (0, 0), 3), np.uint8)
    left, right = render_pair(photo, near_left, divergence=5)
    half = render_one(photo, near_left, divergence=5, layout=layout)

    for at, view in ((first, left), (second, right)):
        size = half[at].shape[1::-1]
        assert psnr(half[at], np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)) > 36


def test_swap_exchanges_the_views() -> None:
    photo = smooth_texture()
    left, right = render_pair(photo, near_left, divergence=5)
    swapped = render_pair(photo, near_left, divergence=5, swap=True)
    sbs = render_one(photo, near_left, divergence=5, swap=True)

    assert np.array_equal(swapped[0], right)
    assert np.array_equal(swapped[1], left)
    assert psnr(sbs[:, :WIDTH], right) > 40


def test_rgbd_has_the_whole_photo_and_its_nearness_in_gray() -> None:
    photo = smooth_texture()
    both = render_one(photo, near_left, layout="rgbd", edge_dilation=0)
    depth = both[:, WIDTH:].astype(int)

    assert psnr(both[:, :WIDTH], photo) > 40
    # A JPEG mixes colours over its blocks, so the first columns have some of the photo's.
    assert np.ptp(depth[:, 16:], axis=2).max() <= 2
    assert np.abs(depth[:, 16:].mean(axis=2) - np.linspace(255, 0, WIDTH)[16:]).max() <= 4


def test_red_of_an_anaglyph_is_the_left_view() -> None:
    photo = gray_texture()
    left, right = render_pair(photo, near_left, divergence=5)
    mixed = render_one(photo, near_left, divergence=5, layout="anaglyph", anaglyph="gray")

    assert psnr(mixed[..., 0], left[..., 0]) > 36
    assert psnr(mixed[..., 1], right[..., 1]) > 36
    assert psnr(mixed[..., 0], right[..., 0]) < 25


def test_a_gray_photo_without_divergence_is_a_gray_anaglyph() -> None:
    photo = gray_texture()
    mixed = render_one(photo, divergence=0, layout="anaglyph", anaglyph="gray")

    assert psnr(mixed, photo) > 40
    assert np.ptp(mixed.astype(int), axis=2).max() <= 2


@pytest.mark.parametrize("layout", list(StereoLayout))
def test_only_anaglyphs_keep_colour_at_full_resolution(layout: StereoLayout) -> None:
    files = render(smooth_texture(), layout=str(layout))
    sampling = {
        JpegImagePlugin.get_sampling(Image.open(io.BytesIO(file.data)))
        for name, file in files.items()
        if name != "depth"
    }

    # Pillow's numbers for 4:4:4 and 4:2:0.
    assert sampling == {0 if layout is StereoLayout.ANAGLYPH else 2}


# --- any photo --------------------------------------------------------------


@pytest.mark.parametrize("layout", list(StereoLayout))
@pytest.mark.parametrize(
    ("height", "width"), [(32, 32), (32, 33), (100, 400), (400, 100), (129, 257)], ids=str
)
def test_any_size_is_served(height: int, width: int, layout: StereoLayout) -> None:
    files = render(
        smooth_texture(height, width), near_middle, layout=str(layout), divergence=5, edge_dilation=4
    )

    each = view_size(height, width, layout)
    for name, file in files.items():
        if name != "depth":
            got = pixels(file).shape
            assert got[0] in (each[0], 2 * each[0])
            assert got[1] in (each[1], 2 * each[1])


@pytest.mark.parametrize("layout", list(StereoLayout))
def test_a_constant_map_leaves_the_photo_flat(layout: StereoLayout) -> None:
    files = render(
        smooth_texture(), lambda shape: np.full(shape, 3, np.float32), layout=str(layout), divergence=5
    )

    if layout is StereoLayout.PAIR:
        left, right = pixels(files["stereo_left"]), pixels(files["stereo_right"])
        assert psnr(left, right) > 45
    if layout is StereoLayout.RGBD:
        assert np.abs(pixels(files["stereo"])[:, WIDTH + 16 :].astype(int) - 128).max() <= 1


def test_a_gray_file_gives_gray_views() -> None:
    gray = save(Image.fromarray(smooth_texture()[..., 0]), "PNG")

    assert np.ptp(render_one(gray).astype(int), axis=2).max() <= 2


def test_a_view_fits_twice_into_a_jpeg() -> None:
    assert view_size(1000, 60_000, StereoLayout.SBS_FULL) == (
        round(1000 * MAX_VIEW_SIDE / 60_000),
        MAX_VIEW_SIDE,
    )
    assert 2 * MAX_VIEW_SIDE <= 65_500
