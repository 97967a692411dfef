"""Layers as files, read back by psd-tools, zipfile and Pillow. Bright is near in these photos."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from psd_tools import PSDImage

from fathom.options import Options
from shared.errors import ImageTooLarge, LabelsInvalid
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, save, save_turned
from worker.pipeline.photo import Pixels
from worker.pipeline.pipeline import Pipeline


def steps(height: int = 240, width: int = 320) -> Pixels:
    """Return a dark wall, a gray square before it and a bright one before that, with noise on all."""
    levels = np.full((height, width, 1), 30)
    levels[height // 8 : -height // 8, width // 8 : -width // 8] = 120
    levels[height // 3 : -height // 3, width // 3 : -width // 3] = 230
    colours = levels + np.random.default_rng(6).integers(-9, 10, (height, width, 3))
    return colours.astype(np.uint8)


def ramp(height: int = 240, width: int = 320) -> Pixels:
    return (
        np.linspace(0, 255, width).astype(np.uint8)[np.newaxis, :, np.newaxis].repeat(height, 0).repeat(3, 2)
    )


def render(photo: Pixels | bytes, *, labels: bytes | None = None, **given: Any) -> dict[str, bytes]:
    data = photo if isinstance(photo, bytes) else save(photo, "PNG")
    options = Options.parse({"outputs": "layers", "layers": given})
    files = Pipeline(LuminanceEngine(), limits=LIMITS).render(data, options, labels=labels)
    return {file.output: file.data for file in files}


def psd(photo: Pixels | bytes, **given: Any) -> PSDImage:
    return PSDImage.open(io.BytesIO(render(photo, **given)["layers"]))


def unzip(data: bytes) -> tuple[dict[str, Any], dict[str, ImageFile]]:
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        facts = json.loads(archive.read("layers.json"))
        pictures = {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()[1:]}
    return facts, pictures


def flatten(data: bytes) -> NDArray[np.uint8]:
    """Lay the PNGs of a ZIP over one another with Pillow, as its description says."""
    facts, pictures = unzip(data)
    flat = Image.new("RGBA", (facts["width"], facts["height"]))
    for layer in facts["layers"]:
        flat.alpha_composite(pictures[layer["file"]], (layer["box"]["x"], layer["box"]["y"]))
    return np.asarray(flat)


def off(flat: Any, photo: Pixels) -> int:
    """Return by how much a picture is off the photo at most; it must be opaque, but for rounding."""
    values = np.asarray(flat.convert("RGBA") if isinstance(flat, Image.Image) else flat).astype(int)
    assert values[..., 3].min() >= 254
    return int(np.abs(values[..., :3] - photo).max())


PHOTOS = {
    "steps": steps(),
    "ramp": ramp(),
    "large": steps(700, 900),
    "flat": np.full((64, 48, 3), 90, np.uint8),
}


@pytest.mark.parametrize("dilation", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("name", PHOTOS)
def test_layers_of_a_psd_make_the_photo(name: str, dilation: float):
    data = render(PHOTOS[name], edge_dilation=dilation)["layers"]

    assert off(PSDImage.open(io.BytesIO(data)).composite(force=True), PHOTOS[name]) <= 1
    with Image.open(io.BytesIO(data)) as merged:
        assert np.array_equal(np.asarray(merged.convert("RGB")), PHOTOS[name])


@pytest.mark.parametrize("dilation", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("name", PHOTOS)
def test_layers_of_a_zip_make_the_photo(name: str, dilation: float):
    assert (
        off(flatten(render(PHOTOS[name], format="zip", edge_dilation=dilation)["layers"]), PHOTOS[name]) <= 1
    )


def test_a_psd_has_named_layers_from_far_to_near_and_hidden_depth():
    read = psd(steps(), count=3, bleed=10)
    far, middle, near, depth = read

    assert [(layer.name, layer.visible) for layer in read] == [
        ("1 far", True),
        ("2", True),
        ("3 near", True),
        ("depth", False),
    ]
    assert far.bbox == depth.bbox == (0, 0, 320, 240)
    assert middle.bbox == pytest.approx((40, 30, 280, 210), abs=5)
    assert near.bbox == pytest.approx((106, 80, 214, 160), abs=5)
    gray = np.asarray(depth.topil())
    assert gray.shape == (240, 320, 3)
    assert gray[120, 160].min() > 225
    assert gray[10, 10].max() < 30


def test_a_zip_describes_its_layers_for_a_game():
    facts, pictures = unzip(render(steps(), format="zip", count=3)["layers"])
    layers = facts["layers"]

    assert (facts["width"], facts["height"], facts["depth_ratio"]) == (320, 240, 6)
    assert [(layer["file"], layer["name"]) for layer in layers] == [
        ("01-far.png", "1 far"),
        ("02.png", "2"),
        ("03-near.png", "3 near"),
    ]
    # Relative inverse depth of 30, 120 and 230 over their range: z = 1 / (1/6 + 5/6 nearness).
    assert [layer["z"] for layer in layers] == pytest.approx([5.6, 1.8, 1.03], rel=0.08)
    assert [layer["scroll"] for layer in layers] == pytest.approx(
        [layers[2]["z"] / layer["z"] for layer in layers], abs=1e-3
    )
    for layer in layers:
        picture = pictures[layer["file"]]
        assert (picture.mode, picture.size) == ("RGBA", (layer["box"]["width"], layer["box"]["height"]))
    assert layers[0]["box"] == {"x": 0, "y": 0, "width": 320, "height": 240}
    assert (layers[2]["box"]["x"], layers[2]["box"]["y"]) == pytest.approx((106, 80), abs=5)


def test_a_photo_gives_the_same_bytes_again():
    for kind in ("psd", "zip"):
        assert render(steps(), format=kind) == render(steps(), format=kind)


def test_a_zip_holds_no_time_and_compresses_nothing_twice():
    with ZipFile(io.BytesIO(render(steps(), format="zip")["layers"])) as archive:
        assert {(info.date_time, info.compress_type) for info in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), ZIP_STORED)
        }


def test_a_flat_photo_is_one_layer_and_depth():
    assert [layer.name for layer in psd(PHOTOS["flat"])] == ["1", "depth"]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_slope_has_as_many_layers_as_asked_for(count: int):
    facts, _ = unzip(render(ramp(), format="zip", count=count)["layers"])
    distances = [layer["z"] for layer in facts["layers"]]

    assert len(distances) == count
    assert distances == sorted(distances, reverse=True)


def test_a_turned_photo_gives_upright_layers():
    data = render(save_turned(steps(), "PNG", 6), format="zip")["layers"]

    assert off(flatten(data), steps()) <= 1


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "WEBP", "GIF", "HEIF", "AVIF", "JPEG"])
def test_photos_of_every_format_have_layers(file_format: str):
    read = psd(save(steps(), file_format))

    merged = np.asarray(read.topil())

    assert off(read.composite(force=True), merged) <= 1
    assert np.abs(merged.astype(int) - steps()).mean() < 12


def test_near_things_are_widened_on_request():
    def area(dilation: float) -> int:
        return int((np.asarray(psd(steps(), edge_dilation=dilation)[2].topil())[..., 3] > 0).sum())

    assert area(0) < area(2) < area(4)


@pytest.mark.parametrize("kind", ["psd", "zip"])
def test_a_photo_too_long_for_a_psd_is_refused_and_fits_a_zip(kind: str):
    data = save(np.full((16, 30_001, 3), 90, np.uint8), "PNG")
    if kind == "psd":
        with pytest.raises(ImageTooLarge, match="30,000"):
            render(data, format=kind)
    else:
        assert unzip(render(data, format=kind)["layers"])[0]["width"] == 30_001


# --- labels -----------------------------------------------------------------------


def label_picture(photo: Pixels) -> Pixels:
    labels = np.zeros(photo.shape[:2], np.uint8)
    labels[90:150, 120:200] = 7
    labels[0:20, 0:100] = 200
    return labels


def test_labels_become_layers_by_their_medians_and_the_rest_is_cut_by_depth():
    labels = save(label_picture(steps()), "PNG")
    data = render(steps(), labels=labels, masks=True, format="zip", count=4)["layers"]
    facts, pictures = unzip(data)

    assert [layer["name"] for layer in facts["layers"]] in (
        ["1 far", "label 200", "3", "label 7"],
        ["label 200", "2", "3", "label 7"],
    )
    files = {layer["name"]: layer["file"] for layer in facts["layers"]}
    assert files["label 7"] == "04-label-7.png"
    assert pictures[files["label 7"]].size == (82, 62)
    assert off(flatten(data), steps()) <= 1


def test_labels_become_layers_of_a_psd():
    read = psd(steps(), labels=save(label_picture(steps()), "PNG"), masks=True, count=2)

    assert sorted(layer.name for layer in read)[-3:] == ["depth", "label 200", "label 7"]
    assert len(read) == 4
    assert off(read.composite(force=True), steps()) <= 1


def test_where_everything_has_a_label_nothing_is_cut_by_depth():
    labels = np.full((240, 320), 1, np.uint8)
    labels[:, 160:] = 2
    read = psd(ramp(), labels=save(labels, "PNG"), masks=True)

    assert [layer.name for layer in read] == ["label 1", "label 2", "depth"]
    assert off(read.composite(force=True), ramp()) <= 1


def test_the_depth_of_each_label_is_described_in_numbers():
    labels = np.zeros((240, 320), np.uint8)
    labels[40:120, 0:80], labels[100:200, 240:320] = 5, 9
    described = json.loads(render(ramp(), labels=save(labels, "PNG"), masks=True)["labels"])

    assert (described["width"], described["height"]) == (320, 240)
    far, near = described["labels"]
    assert (far["label"], far["name"], far["area"], far["share"]) == (5, "label 5", 6200 + 200, 0.083333)
    assert far["box"] == {"x": 0, "y": 40, "width": 80, "height": 80}
    assert near["box"] == {"x": 240, "y": 100, "width": 80, "height": 100}
    # Nearness rises from 0 on the left to 1 on the right.
    assert [*far["nearness"].values()] == pytest.approx([1 / 16, 1 / 8, 3 / 16], abs=0.02)
    assert [*near["nearness"].values()] == pytest.approx([13 / 16, 7 / 8, 15 / 16], abs=0.02)


@pytest.mark.parametrize("labels", [None, save(np.zeros((240, 320), np.uint8), "PNG")])
def test_a_photo_without_labels_has_plain_layers_and_an_empty_list(labels: bytes | None):
    files = render(steps(), labels=labels, masks=True)

    assert json.loads(files["labels"])["labels"] == []
    assert files["layers"] == render(steps())["layers"]


def test_labels_are_not_looked_at_where_no_masks_are_asked_for():
    assert render(steps(), labels=b"no picture") == render(steps())


def test_labels_that_do_not_fit_their_photo_are_refused():
    with pytest.raises(LabelsInvalid, match="same aspect"):
        render(steps(), labels=save(np.ones((320, 240), np.uint8), "PNG"), masks=True)
