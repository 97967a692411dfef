"""From bytes to result files, with an engine whose depth is the brightness of the picture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fathom.options import MAPS, Options, Output
from shared.errors import ImageCorrupt, ImageError, ImageTooLarge
from shared.jobs.job import Range
from shared.settings import Settings
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, lay, save, save_turned, texture
from worker.pipeline.colour import colour_table
from worker.pipeline.pipeline import Pipeline, ResultFile
from worker.pipeline.stages import Stage

ALL_OUTPUTS = [str(output) for output in Output]


def lit_corner(height: int = 300, width: int = 400, bright: int = 250) -> NDArray[np.uint8]:
    """Return a dark picture with a bright top left quarter, which is near for the engine of these tests."""
    picture = np.full((height, width, 3), 20, np.uint8)
    picture[: height // 2, : width // 2] = bright
    return picture


def pipeline(*, exact: bool = False, engine: LuminanceEngine | None = None) -> Pipeline:
    return Pipeline(engine or LuminanceEngine(), limits=LIMITS, exact=exact)


def options(**given: Any) -> Options:
    # A few small frames prove what those of a whole clip would.
    short = {"clip": {"seconds": 1, "fps": 5, "height": 120}} if "clip" in given.get("outputs", ()) else {}
    return Options.parse(short | given)


def render(data: bytes, **given: Any) -> dict[str, ResultFile]:
    return {file.output: file for file in pipeline().render(data, options(**given))}


def pixels(file: ResultFile, mode: str = "RGB") -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file.data)).convert(mode))


def npy(file: ResultFile) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.load(io.BytesIO(file.data), allow_pickle=False)
    return values


def sidecar(files: dict[str, ResultFile]) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    fields: dict[str, Any] = json.loads(files["depth"].data, parse_constant=refuse)
    return fields


# --- what comes out ---------------------------------------------------------------


def test_every_output_has_its_file_its_type_and_the_sidecar_comes_last() -> None:
    files = pipeline().render(save(lit_corner(), "JPEG"), options(outputs=ALL_OUTPUTS))

    assert [(file.output, file.file_name, file.content_type) for file in files] == [
        ("heatmap", "heatmap.png", "image/png"),
        ("depth16", "depth16.png", "image/png"),
        ("pfm", "depth.pfm", "application/octet-stream"),
        ("npy", "depth.npy", "application/octet-stream"),
        ("comparison", "side_by_side.jpg", "image/jpeg"),
        ("thumbnail", "thumbnail.jpg", "image/jpeg"),
        ("exr", "depth.exr", "image/x-exr"),
        ("normals", "normals.png", "image/png"),
        ("controlnet", "controlnet.png", "image/png"),
        ("stereo", "stereo_LRF_Full_SBS.jpg", "image/jpeg"),
        ("mesh", "mesh.glb", "model/gltf-binary"),
        ("cloud", "cloud.ply", "application/octet-stream"),
        ("layers", "layers.psd", "image/vnd.adobe.photoshop"),
        ("refocus", "refocus.jpg", "image/jpeg"),
        ("embedded", "embedded.jpg", "image/jpeg"),
        ("clip", "clip.mp4", "video/mp4"),
        ("depth", "depth.json", "application/json"),
    ]
    assert all(type(file.data) is bytes for file in files)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "HEIF", "AVIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heatmap_is_upright_and_of_the_photos_size(file_format: str, orientation: int) -> None:
    heat = pixels(render(save_turned(lit_corner(), file_format, orientation))["heatmap"], "L")

    assert heat.shape == (300, 400)
    assert heat[60, 80] > 180
    assert max(heat[60, 320], heat[240, 80], heat[240, 320]) < 40


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_reduced_photo_gives_a_heatmap_of_its_full_size(exact: bool, orientation: int) -> None:
    data = save_turned(lit_corner(1501, 2003), "JPEG", orientation)
    files = pipeline(exact=exact).render(data, options())
    heat = pixels(files[0], "L")

    assert heat.shape == (1501, 2003)
    assert heat[300, 400] > 180 > 40 > heat[1200, 1600]


def test_fast_and_exact_decoding_agree_in_what_they_show() -> None:
    data = save(texture(1600, 2000), "JPEG")
    fast, exact = (npy(pipeline(exact=e).render(data, options(outputs="npy"))[0]) for e in (False, True))

    assert np.abs(fast - exact).mean() < 0.02 * (exact.max() - exact.min())


@pytest.mark.parametrize("size", [(4000, 20), (20, 4000), (16, 16), (17, 31), (257, 255), (33, 3000)])
def test_extreme_shapes_keep_their_size_in_every_output(size: tuple[int, int]) -> None:
    width, height = size
    files = render(save(texture(height, width), "PNG"), outputs=ALL_OUTPUTS)

    assert pixels(files["heatmap"]).shape == (height, width, 3)
    assert pixels(files["comparison"]).shape == (height, 2 * width, 3)
    assert npy(files["npy"]).shape == (height, width)
    assert max(pixels(files["thumbnail"]).shape[0], pixels(files["thumbnail"]).shape[1] // 2) <= 512


def test_heatmap_png_and_jpeg_show_the_same() -> None:
    # A JPEG halves the size of colours, which tells where edges are crisp all over.
    data = save(texture(400, 600), "PNG")
    png, jpeg = (render(data, heatmap_format=kind, edges="smooth")["heatmap"] for kind in ("png", "jpeg"))

    assert jpeg.file_name == "heatmap.jpg"
    assert Image.open(io.BytesIO(png.data)).mode == "P"
    assert np.abs(pixels(png).astype(int) - pixels(jpeg)).mean() < 3


@pytest.mark.parametrize("colormap", ["inferno", "magma", "viridis", "turbo", "spectral", "gray"])
def test_the_nearest_and_the_farthest_pixel_have_the_ends_of_the_table(colormap: str) -> None:
    files = render(save(lit_corner(), "PNG"), colormap=colormap, outputs=["heatmap", "npy"])
    heat, depth = pixels(files["heatmap"]), npy(files["npy"])
    table = colour_table(options(colormap=colormap).colormap)

    assert tuple(heat.reshape(-1, 3)[depth.argmax()]) == tuple(table[255])
    assert tuple(heat.reshape(-1, 3)[depth.argmin()]) == tuple(table[0])


def test_invert_swaps_the_colours_and_not_the_depth() -> None:
    data = save(texture(), "PNG")
    plain, inverted = (
        render(data, outputs=["heatmap", "npy", "depth16"], colormap="gray", invert=i) for i in (False, True)
    )

    assert (pixels(plain["heatmap"]) == 255 - pixels(inverted["heatmap"])).all()
    assert plain["npy"].data == inverted["npy"].data
    assert plain["depth16"].data == inverted["depth16"].data


def test_the_heatmap_is_the_normalised_depth() -> None:
    files = render(save(texture(300, 500), "PNG"), outputs=["heatmap", "npy"], colormap="gray")
    depth = npy(files["npy"]).astype(np.float64)

    exact = 255 * (depth - depth.min()) / (depth.max() - depth.min())
    assert np.abs(pixels(files["heatmap"], "L") - exact).max() < 0.51


def test_clip_saturates_both_ends() -> None:
    data = save(texture(400, 400), "PNG")
    heat = pixels(render(data, clip="10,90", colormap="gray")["heatmap"], "L")

    assert 0.08 < (heat == 0).mean() < 0.13
    assert 0.08 < (heat == 255).mean() < 0.13


def test_the_sidecars_minimum_and_maximum_undo_depth16() -> None:
    files = render(save(texture(300, 500), "PNG"), outputs=["depth16", "npy", "pfm"])
    facts, depth = sidecar(files), npy(files["npy"])
    words = np.asarray(Image.open(io.BytesIO(files["depth16"].data))).astype(np.float64)

    assert (facts["min"], facts["max"]) == (float(depth.min()), float(depth.max()))
    undone = facts["min"] + words / 65535 * (facts["max"] - facts["min"])
    assert np.abs(undone - depth).max() <= 0.51 * (facts["max"] - facts["min"]) / 65535
    body = files["pfm"].data.split(b"\n", 3)[3]
    assert np.array_equal(np.frombuffer(body, "<f4").reshape(300, 500)[::-1], depth)


def test_network_size_keeps_the_prediction_as_it_is() -> None:
    engine = LuminanceEngine()
    files = Pipeline(engine, limits=LIMITS).render(
        save(texture(600, 800), "JPEG"), options(size="network", outputs=sorted(MAPS))
    )
    by_name = {file.output: file for file in files}

    assert engine.seen == [(192, 256)]
    assert pixels(by_name["heatmap"]).shape == (192, 256, 3)
    assert npy(by_name["npy"]).shape == (192, 256)
    assert pixels(by_name["comparison"]).shape == (192, 512, 3)
    assert sidecar(by_name)["output_size"] == {"width": 256, "height": 192}


def test_a_comparison_shows_the_photo_left_and_the_heatmap_right() -> None:
    photo = texture(300, 400)
    files = render(save(photo, "PNG"), outputs=["comparison", "heatmap"], edges="smooth")
    both = pixels(files["comparison"]).astype(int)

    assert np.abs(both[:, :400] - photo).mean() < 12
    assert np.abs(both[:, 400:] - pixels(files["heatmap"])).mean() < 4


# --- edges ------------------------------------------------------------------------


def crispness(depth: NDArray[np.float32]) -> float:
    """The share of values that lie well between near and far: an edge's ramp."""
    share = (depth - depth.min()) / (depth.max() - depth.min())
    return float(((share > 0.2) & (share < 0.8)).mean())


def test_edges_follow_the_photo_in_every_full_size_output() -> None:
    data = save(lit_corner(600, 800), "PNG")
    crisp, soft = (render(data, outputs=ALL_OUTPUTS, edges=edges) for edges in ("snap", "smooth"))
    depth = npy(crisp["npy"])
    words = np.asarray(Image.open(io.BytesIO(crisp["depth16"].data))) / 65535
    shown = sidecar(crisp)

    assert crispness(depth) < 0.3 * crispness(npy(soft["npy"]))
    assert crisp["pfm"].data.endswith(np.ascontiguousarray(depth[::-1]).tobytes())
    assert (shown["min"], shown["max"]) == (depth.min(), depth.max())
    assert np.abs(shown["min"] + words * (shown["max"] - shown["min"]) - depth).max() < 0.02
    for output in crisp:
        assert crisp[output].data != soft[output].data


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_crisp_heatmap_shows_the_same_as_png_and_as_jpeg(kind: str) -> None:
    data = save(lit_corner(900, 1200), "PNG")
    heat = pixels(render(data, heatmap_format=kind, colormap="gray")["heatmap"], "L").astype(int)
    depth = npy(render(data, outputs="npy")["npy"])
    exact = 255 * (depth - depth.min()) / (depth.max() - depth.min())

    assert np.abs(heat - exact).mean() < 1


@pytest.mark.parametrize("given", [{"size": "network"}, {"size": "network", "normalize": "job"}])
def test_at_the_networks_size_there_are_no_edges_to_choose(given: dict[str, str]) -> None:
    data = save(lit_corner(), "PNG")
    outputs = ["heatmap", "npy", "thumbnail"]
    crisp, soft = (render(data, outputs=outputs, edges=edges, **given) for edges in ("snap", "smooth"))

    assert all(crisp[output].data == soft[output].data for output in outputs)


@pytest.mark.parametrize("edges", ["snap", "smooth"])
def test_the_sidecar_names_the_edges(edges: str) -> None:
    assert sidecar(render(save(lit_corner(), "PNG"), edges=edges))["options"]["edges"] == edges


def test_a_measured_range_is_that_of_the_crisp_map() -> None:
    data = save(lit_corner(900, 1200), "PNG")
    depth = npy(render(data, outputs="npy")["npy"])

    assert pipeline().measure(data, options()) == Range(low=float(depth.min()), high=float(depth.max()))


def test_a_comparison_shows_every_pixel_of_a_large_jpeg() -> None:
    lines = np.zeros((1600, 2000, 3), np.uint8)
    lines[:, ::2] = 255
    both = pixels(render(save(lines, "JPEG"), outputs="comparison")["comparison"], "L").astype(int)

    assert np.abs(both[:, 1:1999:2] - both[:, 0:1998:2]).mean() > 200


@pytest.mark.parametrize(
    ("size", "shown"), [((3000, 2000), (512, 341)), ((2000, 3000), (341, 512)), ((300, 200), (300, 200))]
)
def test_a_thumbnail_has_photo_and_heatmap_of_at_most_512(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    photo = lit_corner(size[1], size[0])
    thumbnail = pixels(render(save(photo, "JPEG"), outputs="thumbnail")["thumbnail"], "L").astype(int)
    width, height = shown

    assert thumbnail.shape == (height, 2 * width)
    assert thumbnail[height // 4, width // 4] > 230
    assert thumbnail[height // 4, width + width // 4] > 180
    assert thumbnail[3 * height // 4, width + 3 * width // 4] < 40


# --- numbers that go wrong ----------------------------------------------------------


@pytest.mark.parametrize("outputs", ALL_OUTPUTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_give_results_with_a_warning(outputs: str, bad: float) -> None:
    def damage(prediction: NDArray[np.float32]) -> NDArray[np.float32]:
        prediction[:4, :5] = bad
        return prediction

    files = {
        f.output: f
        for f in pipeline(engine=LuminanceEngine(damage)).render(
            save(texture(), "PNG"), options(outputs=outputs)
        )
    }
    facts = sidecar(files)

    assert facts["non_finite"] == 20
    assert any("20 values" in warning for warning in facts["warnings"])


@pytest.mark.parametrize("value", [np.nan, 0.0, 0.1, 500.0])
@pytest.mark.parametrize("normalize", ["image", "job"])
def test_a_constant_map_is_all_zeros_with_a_warning(value: float, normalize: str) -> None:
    engine = LuminanceEngine(lambda p: np.full_like(p, value))
    given = options(outputs=["heatmap", "depth16", "thumbnail"], colormap="gray", normalize=normalize)
    data = save(texture(313, 477), "PNG")
    common = pipeline(engine=engine).measure(data, given) if normalize == "job" else None
    files = {f.output: f for f in pipeline(engine=engine).render(data, given, common=common)}

    assert not pixels(files["heatmap"]).any()
    assert not np.asarray(Image.open(io.BytesIO(files["depth16"].data))).any()
    assert any("constant" in warning for warning in sidecar(files)["warnings"])


# --- one range for a job -------------------------------------------------------------


@pytest.mark.parametrize("clip", ["0,100", "3,97"])
@pytest.mark.parametrize("size", ["original", "network"])
def test_measure_returns_the_range_that_render_would_find(clip: str, size: str) -> None:
    data, given = save(texture(500, 700), "JPEG"), options(clip=clip, size=size)
    measured = pipeline().measure(data, given)
    alone = pipeline().render(data, given)
    common = pipeline().render(data, given, common=measured)

    assert measured.low < measured.high
    assert alone[0].data == common[0].data


def test_photos_with_a_common_range_are_comparable() -> None:
    dim, bright = save(lit_corner(bright=110), "PNG"), save(lit_corner(bright=250), "PNG")
    given = options(normalize="job", colormap="gray")
    ranges = [pipeline().measure(data, given) for data in (dim, bright)]
    common = Range(low=min(r.low for r in ranges), high=max(r.high for r in ranges))
    heats = [pixels(pipeline().render(data, given, common=common)[0], "L") for data in (dim, bright)]

    assert heats[1].max() == 255
    assert 80 < heats[0].max() < 130


def test_the_sidecar_distinguishes_the_common_range_from_the_own_range() -> None:
    data = save(texture(), "PNG")
    files = {
        f.output: f
        for f in pipeline().render(data, options(normalize="job"), common=Range(low=-5.0, high=5000.0))
    }
    facts = sidecar(files)

    assert facts["range"] == {"low": -5.0, "high": 5000.0, "of": "job"}
    assert -5 < facts["min"] < facts["max"] < 5000


# --- the sidecar ----------------------------------------------------------------------


def test_the_sidecar_says_what_its_numbers_mean() -> None:
    data = save_turned(lit_corner(600, 800), "JPEG", 6)
    facts = sidecar(render(data))

    assert facts["kind"] == "relative_inverse_depth"
    assert facts["near"] == "high"
    assert facts["model"] == "MiDaS_small"
    assert facts["weights"] == {"name": "luminance", "sha256": "ab" * 32}
    assert (facts["engine"], facts["precision"]) == ("fake", "f32")
    assert facts["preprocessing_size"] == {"width": 256, "height": 192}
    assert facts["original_size"] == facts["output_size"] == {"width": 800, "height": 600}
    assert facts["orientation_applied"] == 6
    assert facts["source"] == {"format": "jpeg", "sha256": sha256(data).hexdigest()}
    assert facts["range"] == {"low": facts["min"], "high": facts["max"], "of": "image"}
    assert facts["non_finite"] == 0
    assert facts["warnings"] == []
    assert facts["options"] == options().to_json()


def test_the_sidecar_names_random_weights() -> None:
    class RandomEngine(LuminanceEngine):
        @property
        def info(self) -> Any:
            return replace(super().info, weights="random")

    files = {f.output: f for f in pipeline(engine=RandomEngine()).render(save(texture(), "PNG"), options())}

    assert sidecar(files)["warnings"] == ["The network ran on random weights: this is not a depth map."]


# --- promises --------------------------------------------------------------------------


SECRET = b"N 48 degrees 51 minutes, Somebody's Phone"


@cache
def secret_photo(file_format: str) -> bytes:
    """Return a photo whose metadata have the secret."""
    exif = Image.Exif()
    exif[0x010F] = SECRET.decode()
    exif.get_ifd(0x8825)[1] = "N"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
    extra = {"exif": exif if file_format == "TIFF" else exif.tobytes(), "icc_profile": b"\0" * 128 + SECRET}
    return save(
        texture(200, 300), file_format, **extra, **({} if file_format in ("TIFF", "PNG") else {"xmp": xmp})
    )


# The output `embedded` is the photo's own file, metadata included.
@pytest.mark.parametrize("output", [output for output in ALL_OUTPUTS if output != "embedded"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_no_metadata_of_the_photo_gets_into_any_result(file_format: str, output: str) -> None:
    data = secret_photo(file_format)
    assert SECRET in data or file_format == "PNG"
    files = render(data, outputs=output)

    for file in files.values():
        for trace in (SECRET, b"Exif", b"eXIf", b"xmpmeta", b"ICC_PROFILE", b"iCCP", b"tEXt"):
            assert trace not in file.data


#: Not an MP4: the bytes of x264 depend on what was in memory before, as its macroblock tree reads beyond it.
GIF = {"format": "gif", "seconds": 1, "fps": 5, "height": 120}


@pytest.mark.parametrize(
    "given", [{"outputs": ALL_OUTPUTS, "clip": GIF}, {"heatmap_format": "jpeg"}, {"clip": "2,98"}]
)
def test_the_same_photo_gives_the_same_bytes_whatever_came_before(given: dict[str, Any]) -> None:
    data, used = save(texture(400, 600), "JPEG"), pipeline()
    used.render(save(lit_corner(800, 600), "PNG"), options(outputs=ALL_OUTPUTS))
    again = used.render(data, options(**given))

    assert again == pipeline().render(data, options(**given))
    assert again == used.render(data, options(**given))


def test_results_do_not_change_when_the_next_photo_is_processed() -> None:
    used = pipeline()
    first = used.render(save(texture(300, 400), "PNG"), options(outputs=ALL_OUTPUTS))
    copies = [bytes(bytearray(file.data)) for file in first]
    used.render(save(lit_corner(300, 400), "PNG"), options(outputs=ALL_OUTPUTS))

    assert [file.data for file in first] == copies


def test_a_bad_photo_does_not_hurt_the_next() -> None:
    used, good = pipeline(), save(texture(), "JPEG")
    with pytest.raises(ImageCorrupt):
        used.render(good[: len(good) // 2], options())

    assert used.render(good, options()) == pipeline().render(good, options())


@pytest.mark.parametrize("call", [Pipeline.render, Pipeline.measure])
def test_measuring_and_rendering_refuse_the_same(call: Callable[..., object]) -> None:
    for data in (b"", b"no picture", save(texture(), "JPEG")[:300], save(texture(8, 8), "PNG")):
        with pytest.raises(ImageError):
            call(pipeline(), data, options())


def test_a_heatmap_too_long_for_a_jpeg_is_refused_but_works_as_png() -> None:
    data = save(np.zeros((16, 66_000, 3), np.uint8), "PNG")
    with pytest.raises(ImageTooLarge, match="png"):
        pipeline().render(data, options(heatmap_format="jpeg"))

    assert pixels(render(data)["heatmap"]).shape == (16, 66_000, 3)
    assert pixels(render(data, outputs="comparison")["comparison"]).shape[1] <= 65_500


def test_the_pipeline_reports_the_seconds_of_every_stage() -> None:
    used, began = pipeline(), perf_counter()
    used.render(save(texture(), "JPEG"), options(heatmap_format="jpeg"))
    all_of_it = perf_counter() - began

    assert list(used.seconds) == list(Stage)
    assert min(used.seconds.values()) > 0
    assert sum(used.seconds.values()) <= all_of_it


def test_settings_choose_limits_and_decoding() -> None:
    settings = Settings.from_environ({"FATHOM_MAX_PIXELS": "1000", "FATHOM_DECODE": "exact"})
    with pytest.raises(ImageTooLarge):
        Pipeline.from_settings(LuminanceEngine(), settings).render(save(texture(), "PNG"), options())


def test_the_luminance_engine_keeps_the_layout_of_the_photo() -> None:
    assert (lay(lit_corner(), 3)[-1, -1] == 250).all()


@pytest.mark.parametrize(("decode", "whole"), [("exact", True), ("fast", False)])
def test_fathom_decode_chooses_whether_every_pixel_is_decoded(decode: str, whole: bool) -> None:
    # Alternating columns vanish in a picture decoded at an eighth of its size.
    lines = np.zeros((1500, 2100, 3), np.uint8)
    lines[:, ::2] = 255
    data = save(lines, "PNG")
    settings = Settings.from_environ({"FATHOM_DECODE": decode})
    seen: list[float] = []

    class RecordingEngine(LuminanceEngine):
        def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(float(batch.std()))
            return super().predict(batch)

    Pipeline.from_settings(RecordingEngine(), settings).render(data, options())

    assert (seen[0] > 0.5) is whole


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_a_large_picture_of_any_mode_is_reduced_to_the_same_picture(mode: str, file_format: str) -> None:
    file = io.BytesIO()
    Image.fromarray(lit_corner(1503, 2005)).convert(mode).save(file, file_format)
    heat = pixels(render(file.getvalue())["heatmap"], "L")

    assert heat.shape == (1503, 2005)
    assert heat[300, 400] > 180 > 40 > heat[1200, 1600]
