"""Two predictions merged: what comes from which, and the option `quality` on its whole way."""

from __future__ import annotations

import io
import json
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fathom.options import Options, Quality
from shared.jobs.job import Range
from shared.networks import MIDAS_SMALL
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, save, texture
from worker.model.preprocess import network_size
from worker.pipeline.depth import upsample
from worker.pipeline.detail import inputs_of, merge
from worker.pipeline.edges import make_guide
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.scratch import Scratch

Map = NDArray[np.float32]
#: Heights and widths of both predictions of a photo: 4:3, portrait, 3:2, square, and a panorama.
GRIDS = [
    ((192, 256), (288, 384)),
    ((256, 192), (384, 288)),
    ((160, 256), (256, 384)),
    ((256, 256), (384, 384)),
    ((64, 256), (96, 384)),
    ((32, 256), (32, 384)),
]
BASE, DETAILED = GRIDS[0]


def wide(prediction: Map, size: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(prediction, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def hills(size: tuple[int, int] = BASE, seed: int = 1) -> Map:
    """A smooth prediction of 100 to 1100."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(size, np.float32), (0, 0), 12)
    return np.asarray(100 + 1000 * (noise - noise.min()) / (noise.max() - noise.min()), np.float32)


def stripes(period: float, size: tuple[int, int] = DETAILED) -> Map:
    """Waves of -50 to 50 along the width, so many pixels apart."""
    return np.tile((50 * np.sin(2 * np.pi * np.arange(size[1]) / period)).astype(np.float32), (size[0], 1))


def apart(one: Map, other: Map) -> float:
    """The largest difference, as a share of the other map's range."""
    return float(np.abs(one - other).max() / (other.max() - other.min()))


def strength(merged: Map, pattern: Map) -> float:
    """How much of a pattern is in a map."""
    pattern = pattern - pattern.mean()
    return float((merged * pattern).sum() / (pattern * pattern).sum())


# --- the merge --------------------------------------------------------------------


@pytest.mark.parametrize(("small", "large"), GRIDS)
def test_two_equal_predictions_give_the_same_map(small: tuple[int, int], large: tuple[int, int]) -> None:
    base = hills(small)
    merged = merge(base, wide(base, large))

    assert merged.shape == large
    assert merged.dtype == np.float32
    assert apart(merged, wide(base, large)) < 0.002


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, 5000.0), (0.001, 0.0), (40.0, -700.0), (1e-20, 0.0), (1e20, 0.0)]
)
def test_scale_and_shift_of_the_detailed_prediction_change_nothing(scale: float, shift: float) -> None:
    base, detailed = hills(), wide(hills(), DETAILED) + stripes(8)
    moved = (scale * detailed + shift).astype(np.float32)

    assert apart(merge(base, moved), merge(base, detailed)) < 1e-4


def test_scale_and_shift_of_the_base_are_kept() -> None:
    base, detailed = hills(), wide(hills(), DETAILED) + stripes(8)
    merged, moved = merge(base, detailed), merge((0.01 * base - 3).astype(np.float32), detailed)

    assert apart((moved + 3) / np.float32(0.01), merged) < 1e-4


def test_detail_that_only_the_detailed_prediction_has_appears() -> None:
    fine = stripes(8)
    merged = merge(hills(), wide(hills(), DETAILED) + fine)

    assert strength(merged, fine) == pytest.approx(1, abs=0.05)


def test_low_frequencies_that_only_the_detailed_prediction_has_do_not_appear() -> None:
    slow = np.tile(np.linspace(-50, 50, DETAILED[1], dtype=np.float32), (DETAILED[0], 1))
    base = wide(hills(), DETAILED)
    merged = merge(hills(), base + slow)

    assert abs(strength(merged - base, slow)) < 0.02


def test_low_frequencies_that_only_the_base_has_stay() -> None:
    slow = np.tile(np.linspace(-300, 300, BASE[1], dtype=np.float32), (BASE[0], 1))
    merged = merge(hills() + slow, wide(hills(), DETAILED))
    pattern = wide(slow, DETAILED)

    assert strength(merged - wide(hills(), DETAILED), pattern) == pytest.approx(1, abs=0.05)


def test_a_thing_that_only_one_of_them_sees_does_not_change_the_scale_of_the_rest() -> None:
    base, detailed = hills(), wide(hills(), DETAILED) + stripes(8)
    seen = detailed.copy()
    seen[:60, :60] += 500
    away = slice(200, None), slice(280, None)

    assert apart(merge(base, seen)[away], merge(base, detailed)[away]) < 0.01


def test_a_detailed_prediction_that_is_the_wrong_way_round_adds_nothing() -> None:
    assert (merge(hills(), -wide(hills(), DETAILED) + stripes(8)) == wide(hills(), DETAILED)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 500.0, 1e30])
def test_a_constant_base_stays_constant(value: float) -> None:
    merged = merge(np.full(BASE, value, np.float32), wide(hills(), DETAILED))

    assert upsample(merged, 600, 800, Scratch()).is_constant
    assert merged.mean() == pytest.approx(value)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_detailed_prediction_leaves_the_base(value: float) -> None:
    merged = merge(hills(), np.full(DETAILED, value, np.float32))

    assert (merged == wide(hills(), DETAILED)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_where_either_is_not_finite_neither_is_the_map(bad: float) -> None:
    base, detailed = hills(), wide(hills(), DETAILED)
    base[:2, :4] = bad
    detailed[-1, -5:] = bad
    expected = np.zeros(DETAILED, bool)
    expected[:3, :6] = expected[-1, -5:] = True

    assert (~np.isfinite(merge(base, detailed)) == expected).all()


def test_the_merge_is_deterministic_and_leaves_its_predictions_alone() -> None:
    base, detailed = hills(), wide(hills(), DETAILED) + stripes(8)
    copies = base.copy(), detailed.copy()

    assert (merge(base, detailed) == merge(base, detailed)).all()
    assert (base == copies[0]).all()
    assert (detailed == copies[1]).all()


# --- edges on the larger grid -------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(768, 1024), (1500, 2000)])
def test_strips_of_a_merged_map_make_the_whole_and_its_edges_follow_the_photo(
    height: int, width: int
) -> None:
    picture = np.full((height, width, 3), (60, 90, 80), np.uint8)
    picture[:, width // 2 :] = (170, 60, 50)
    # Both predictions see the edge a cell and a half too far right.
    base, detailed = (
        np.tile((100 + 200 / (1 + np.exp(-(np.arange(w) + 0.5 - w / 2 - 1.5)))).astype(np.float32), (h, 1))
        for h, w in (BASE, DETAILED)
    )
    merged = merge(base, detailed)
    depth = upsample(merged, height, width, Scratch(), make_guide(picture, height, width, merged.shape))
    strips = np.concatenate([strip.copy() for _, strip in depth.upsampler.strips()])
    crossing = (strips[height // 8 : -height // 8] < 200).sum(axis=1)

    assert (strips == depth.values).all()
    assert (depth.low, depth.high) == (strips.min(), strips.max())
    assert np.abs(crossing - width / 2).max() <= 2 * width / 1024


# --- the option on its way ----------------------------------------------------------


def render(data: bytes, engine: LuminanceEngine | None = None, **given: Any) -> dict[str, bytes]:
    pipeline = Pipeline(engine or LuminanceEngine(), limits=LIMITS)
    files = pipeline.render(data, Options.parse({"outputs": ["npy", "heatmap"], **given}))
    return {file.output: file.data for file in files}


def depth_of(files: dict[str, bytes]) -> Map:
    return np.asarray(np.load(io.BytesIO(files["npy"]), allow_pickle=False), np.float32)


def test_the_network_runs_once_or_twice() -> None:
    data, once, twice = save(texture(600, 800), "PNG"), LuminanceEngine(), LuminanceEngine()
    render(data, once)
    render(data, twice, quality="detailed")

    assert once.seen == [(192, 256)]
    assert twice.seen == [(192, 256), (288, 384)]
    assert [
        network_size(600, 800, each) for each in inputs_of(MIDAS_SMALL.preprocessing, Quality.DETAILED)
    ] == twice.seen


def test_standard_is_the_default_to_the_bit() -> None:
    data = save(texture(600, 800), "JPEG")

    assert render(data) == render(data, quality="standard")


def test_a_detailed_map_shows_what_the_smaller_input_cannot() -> None:
    # The engine averages 5 x 5 pixels. Waves of 24 pixels are 6 of 256 long, and of these it leaves 20 %; of
    # 384 they are 9 long, and it leaves 58 %.
    photo = np.full((768, 1024, 3), 60, np.int16)
    photo[384:, 512:] = 180
    waves = (30 * np.sin(2 * np.pi * np.arange(1024) / 24)).astype(np.int16)
    data = save(np.asarray(photo + waves[:, np.newaxis], np.uint8), "PNG")
    seen = [
        strength(depth_of(render(data, edges="smooth", quality=quality)), np.tile(waves, (768, 1)))
        for quality in ("standard", "detailed")
    ]

    assert seen[1] / seen[0] == pytest.approx(0.58 / 0.2, rel=0.1)


def test_at_the_networks_size_a_detailed_map_has_the_larger_grid() -> None:
    files = render(save(texture(600, 800), "JPEG"), size="network", quality="detailed")
    facts = json.loads(files["depth"])

    assert depth_of(files).shape == (288, 384)
    assert Image.open(io.BytesIO(files["heatmap"])).size == (384, 288)
    assert facts["output_size"] == {"width": 384, "height": 288}


def test_the_sidecar_says_what_was_merged() -> None:
    data = save(texture(600, 800), "JPEG")
    plain, detailed = (json.loads(render(data, quality=q)["depth"]) for q in ("standard", "detailed"))
    small, large = {"width": 256, "height": 192}, {"width": 384, "height": 288}

    assert (plain["options"]["quality"], detailed["options"]["quality"]) == ("standard", "detailed")
    assert (plain["preprocessing_size"], plain["network_sizes"]) == (small, [small])
    assert (detailed["preprocessing_size"], detailed["network_sizes"]) == (large, [small, large])


def test_a_measured_range_is_that_of_the_merged_map() -> None:
    data = save(texture(600, 800), "JPEG")
    depth = depth_of(render(data, quality="detailed"))
    measured = Pipeline(LuminanceEngine(), limits=LIMITS).measure(data, Options(quality=Quality.DETAILED))

    assert measured == Range(low=float(depth.min()), high=float(depth.max()))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("shape", [(32, 32), (200, 300), (300, 350), (1700, 2300), (60, 2000)])
def test_a_photo_of_any_size_can_be_detailed(shape: tuple[int, int], exact: bool) -> None:
    pipeline = Pipeline(LuminanceEngine(), limits=LIMITS, exact=exact)
    given = Options.parse({"outputs": "npy", "quality": "detailed"})
    files = {file.output: file.data for file in pipeline.render(save(texture(*shape), "JPEG"), given)}

    assert depth_of(files).shape == shape
    assert np.isfinite(depth_of(files)).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 0.1, 500.0])
def test_a_constant_network_gives_a_constant_map_with_a_warning(value: float) -> None:
    engine = LuminanceEngine(lambda p: np.full_like(p, value))
    facts = json.loads(render(save(texture(300, 400), "PNG"), engine, quality="detailed")["depth"])

    assert any("constant" in warning for warning in facts["warnings"])


def test_the_photos_own_depth_is_not_merged_with_anything() -> None:
    made = Pipeline(LuminanceEngine(), limits=LIMITS).render(
        save(texture(300, 400), "JPEG"), Options.parse({"outputs": "embedded"})
    )
    data = made[0].data
    engine = LuminanceEngine()
    detailed, plain = (render(data, engine, quality=quality) for quality in ("detailed", "standard"))

    assert engine.seen == []
    assert json.loads(detailed["depth"])["network_sizes"] == []
    assert detailed["npy"] == plain["npy"]
