"""Depth that a photo holds itself takes the place of the network's."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fathom.options import Options
from shared.errors import NoEmbeddedDepth
from shared.jobs.job import Range
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.embedded.heic import heic
from tests.unit.worker.pipeline.pictures import LIMITS, lay, save, save_turned, texture
from worker.pipeline.decode.decode import decode
from worker.pipeline.embedded.find import find_depth
from worker.pipeline.embedded.gdepth import GDEPTH, with_depth
from worker.pipeline.embedded.packet import Packet
from worker.pipeline.embedded.stored import DepthUnusable
from worker.pipeline.pipeline import Pipeline, ResultFile

INVERSE = {"Format": "RangeInverse", "Near": "2", "Far": "10", "Mime": "image/png"}
#: Half of one of 256 levels: what rounding took is not known better.
HALF = 0.505 / 255
LINEAR = INVERSE | {"Format": "RangeLinear"}


def shares(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Return a map of which no rotation or reflection is like another: 0 at the top left, 255 at the bottom right."""
    y, x = np.mgrid[0:height, 0:width]
    return np.asarray(np.rint(255 * (0.7 * x / (width - 1) + 0.3 * y / (height - 1))), np.uint8)


def png(values: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", values)[1])


def jpeg(values: NDArray[np.uint8]) -> bytes:
    return save(Image.fromarray(values), "JPEG", quality=100)


def photo(height: int = 300, width: int = 400) -> bytes:
    return save(texture(height, width), "JPEG")


def with_map(values: NDArray[Any], properties: dict[str, str] = INVERSE) -> bytes:
    return with_depth(photo(), properties, png(values))


def render(data: bytes, **given: Any) -> tuple[LuminanceEngine, dict[str, ResultFile]]:
    engine = LuminanceEngine()
    files = Pipeline(engine, limits=LIMITS).render(data, Options.parse(given))
    return engine, {file.output: file for file in files}


def facts(files: dict[str, ResultFile]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(files["depth"].data)
    return read


def depth(data: bytes, **given: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.load(io.BytesIO(render(data, outputs="npy", **given)[1]["npy"].data))
    return values


def found(data: bytes) -> NDArray[np.float32]:
    embedded = find_depth(data, decode(data, LIMITS), LIMITS)
    assert embedded is not None
    return embedded.values


# --- Google's depth map ------------------------------------------------------------------


@pytest.mark.parametrize("encode", [png, jpeg])
def test_range_inverse_is_linear_in_inverse_distance(encode: Any):
    values = found(with_depth(photo(), INVERSE, encode(shares())))
    # Google: share = far (d - near) / (d (far - near)).
    distance = 1 / values.astype(np.float64)

    assert np.abs(10 * (distance - 2) / (distance * 8) - shares() / 255).max() < (
        HALF if encode is png else 0.01
    )


def test_range_linear_is_linear_in_distance():
    values = found(with_map(shares(), LINEAR))

    assert np.abs(1 / values.astype(np.float64) - (2 + 8 * (shares() / 255))).max() < 8 * HALF


def test_a_slope_of_few_levels_is_a_slope_and_an_edge_an_edge():
    exact = np.linspace(0, 12, 400) * np.ones((300, 1)) + 100 * (np.mgrid[0:300, 0:400][0] > 150)
    values = found(with_map(np.asarray(np.rint(exact), np.uint8)))
    levels = (0.5 - values.astype(np.float64)) / 0.4 * 255
    steps = np.diff(levels, axis=1)[20:140, 20:-20]

    assert np.abs(levels - exact).max() < 1.01
    assert 0.3 * 12 / 399 < steps.min() < steps.max() < 3 * 12 / 399
    assert np.diff(levels, axis=0)[150].min() > 98


def test_all_16_bits_count():
    words = np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13
    values = found(with_map(words))

    assert np.abs(values - (0.5 - words / 65535 * 0.4)).max() < 1e-6


def test_range_inverse_without_distances_is_relative():
    values = found(with_map(shares(), {"Format": "RangeInverse", "Near": "nan", "Far": "x"}))

    assert np.abs(values - (1 - shares() / 255)).max() < HALF


def test_properties_may_be_elements_and_the_map_in_the_extended_packet():
    inside = f'<GDepth:Format xmlns:GDepth="{GDEPTH}">RangeLinear</GDepth:Format>'
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    packet = f'<rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about="">{inside}</rdf:Description></rdf:RDF>'
    assert Packet(packet.encode()).get(GDEPTH, "Format") == "RangeLinear"
    noise = np.random.default_rng(2).integers(0, 65536, (300, 400), np.uint16)
    data = with_map(noise)

    assert data.count(b"http://ns.adobe.com/xmp/extension/\0") > 3
    assert np.abs(found(data) - (0.5 - noise / 65535 * 0.4)).max() < 1e-6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_map_is_turned_with_its_photo(orientation: int):
    upright = shares()
    stored = np.ascontiguousarray(lay(upright[..., np.newaxis], orientation)[..., 0])
    data = with_depth(save_turned(texture(300, 400), "JPEG", orientation), INVERSE, png(stored))

    assert np.abs(found(data) - (0.5 - upright / 255 * 0.4)).max() < 0.4 * HALF


# --- in the pipeline ---------------------------------------------------------------------


@pytest.mark.parametrize("source", ["auto", "embedded"])
def test_the_network_does_not_run(source: str):
    engine, files = render(with_map(shares()), depth_source=source, outputs="npy,heatmap")
    values = np.load(io.BytesIO(files["npy"].data))

    assert engine.seen == []
    assert values.shape == (300, 400)
    assert (values[0, 0], values.max()) == pytest.approx((0.5, 0.5), abs=0.002)
    assert (values[-1, -1], values.min()) == pytest.approx((0.1, 0.1), abs=0.002)
    assert facts(files)["depth_source"] == "embedded"
    assert facts(files)["embedded_format"] == "GDepth RangeInverse"
    assert facts(files)["preprocessing_size"] == {"width": 80, "height": 60}
    assert facts(files)["warnings"] == []


def test_with_the_model_a_photos_own_depth_does_not_count():
    engine, files = render(with_map(shares()), depth_source="model")

    assert engine.seen == [(192, 256)]
    assert (facts(files)["depth_source"], facts(files)["embedded_format"]) == ("model", None)
    assert files["heatmap"].data == render(photo(), depth_source="model")[1]["heatmap"].data


def test_a_photo_without_depth_takes_the_models():
    engine, files = render(photo())

    assert engine.seen == [(192, 256)]
    assert facts(files)["depth_source"] == "model"
    assert facts(files)["warnings"] == []


@pytest.mark.parametrize("data", [photo(), save(texture(), "PNG"), save(texture(), "HEIF")])
def test_a_photo_without_depth_fails_where_it_must_have_some(data: bytes):
    with pytest.raises(NoEmbeddedDepth) as caught:
        render(data, depth_source="embedded")

    assert (caught.value.code, caught.value.transient) == ("no_embedded_depth", False)


DAMAGED = {
    "another shape": with_map(shares(80, 60)),
    "the same everywhere": with_map(np.full((60, 80), 7, np.uint8)),
    "no picture": with_depth(photo(), INVERSE, b"no picture"),
    "half of a PNG": with_depth(photo(), INVERSE, png(shares())[:-300]),
    "half of a JPEG": with_depth(photo(), INVERSE, jpeg(shares())[:-300]),
    "a huge PNG": with_depth(
        photo(), INVERSE, png(shares()).replace(b"IHDR\0\0\0\x50\0\0\0\x3c", b"IHDR\0\1\0\0\0\1\0\0")
    ),
    "a GIF": with_depth(photo(), INVERSE, save(Image.fromarray(shares()), "GIF")),
    "a tiny one": with_map(shares(9, 12)),
    "no base64": with_map(shares()).replace(b"iVBORw0KGgo", b"iVB\xc3\x9fRw0KGg"),
    "no distances": with_map(shares(), LINEAR | {"Near": "0"}),
    "near behind far": with_map(shares(), LINEAR | {"Near": "20"}),
    "an unknown format": with_map(shares(), INVERSE | {"Format": "RangeSquared"}),
    "XMP that ends early": with_map(shares()).replace(b"</rdf:RDF>", b"</rdf:RDX>"),
    "an entity": with_map(shares()).replace(b"<x:xmpmeta", b"<!DOCTYPE "),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_depth_gives_way_to_the_model_with_a_warning(name: str):
    data = DAMAGED[name]
    engine, files = render(data)

    assert engine.seen == [(192, 256)]
    assert files["heatmap"].data == render(photo())[1]["heatmap"].data
    assert facts(files)["depth_source"] == "model"
    (warning,) = facts(files)["warnings"]
    assert warning.startswith("The depth in the photo cannot be used, so the network's is.")
    with pytest.raises(NoEmbeddedDepth, match="cannot be used"):
        render(data, depth_source="embedded")


def test_a_map_is_never_decoded_beyond_the_limits():
    data = with_map(shares())

    with pytest.raises(DepthUnusable):
        find_depth(data, decode(data, LIMITS), replace(LIMITS, max_pixels=4000))


def test_a_large_map_is_reduced():
    assert found(with_map(cv2.resize(shares(), (3000, 2250)))).shape == (1536, 2048)


def test_measuring_uses_the_same_depth():
    data = with_map(shares())
    pipeline = Pipeline(LuminanceEngine(), limits=LIMITS)
    values = depth(data)

    assert pipeline.measure(data, Options()) == Range(low=float(values.min()), high=float(values.max()))


def test_maps_have_the_own_shape_of_the_depth_with_size_network():
    assert depth(with_map(shares()), size="network").shape == (60, 80)


def test_a_photo_whose_own_depth_is_used_is_returned_as_it_came():
    data = with_map(shares())

    assert render(data, outputs="embedded")[1]["embedded"].data == data
    assert render(data, outputs="embedded", depth_source="model")[1]["embedded"].data != data


def test_what_embedded_writes_is_read_as_it_was_meant():
    data = save(texture(600, 800), "JPEG")
    model = depth(data, edges="smooth").astype(np.float64)
    own = depth(render(data, outputs="embedded", edges="smooth")[1]["embedded"].data).astype(np.float64)
    near, far = ((each - each.min()) / (each.max() - each.min()) for each in (model, own))

    assert np.abs(near - far).max() < 0.02


# --- the depth image of a HEIC -----------------------------------------------------------


@pytest.mark.parametrize("turn_depth", [True, False])
@pytest.mark.parametrize("turns", range(4))
def test_a_heics_disparity_is_near_high_and_upright(turns: int, turn_depth: bool):
    data = heic(texture(240, 320), shares(), turns=turns, turn_depth=turn_depth)
    values, upright = found(data), np.rot90(shares(), turns)

    assert values.shape == upright.shape
    assert np.abs(values - upright).mean() < 3


def test_a_heics_depth_takes_the_place_of_the_networks():
    engine, files = render(heic(texture(240, 320), shares()), outputs="npy,heatmap,embedded")
    values = np.load(io.BytesIO(files["npy"].data))

    assert engine.seen == []
    assert values.shape == (240, 320)
    assert values[-10, -10] > values[120, 160] > values[10, 10]
    assert facts(files)["embedded_format"] == "HEIF disparity"
    assert Image.open(io.BytesIO(files["embedded"].data)).size == (320, 240)


def test_another_auxiliary_image_is_no_depth():
    engine, _ = render(heic(texture(240, 320), shares(), urn="urn:mpeg:hevc:2015:auxid:1"))

    assert engine.seen == [(192, 256)]


@pytest.mark.parametrize("damage", ["cut off", "zeros", "huge"])
def test_a_damaged_depth_image_gives_way_to_the_model(damage: str):
    sound = heic(texture(240, 320), shares())
    size = sound.rindex(b"ispe") + 8
    data = {
        "cut off": sound[:-400],
        "zeros": sound[:-2500] + bytes(2500),
        "huge": sound[:size] + struct.pack(">II", 100_000, 100_000) + sound[size + 8 :],
    }[damage]
    engine, files = render(data)
    (warning,) = facts(files)["warnings"]

    assert engine.seen == [(192, 256)]
    assert warning.startswith("The depth in the photo cannot be used, so the network's is.")
