"""The official binding of OpenEXR reads what `exr` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from tests.unit.worker.pipeline.outputs.readers import read_npy, render
from tests.unit.worker.pipeline.pictures import save, save_turned, scene, texture
from worker.pipeline.encode.exr import encode_exr
from worker.pipeline.pipeline import ResultFile


def read(file: ResultFile, folder: Path) -> OpenEXR.Part:
    path = folder / file.file_name
    path.write_bytes(file.data)
    (part,) = OpenEXR.File(str(path)).parts
    return part


@pytest.mark.parametrize("channel", ["Z", "R", "Y"])
def test_its_one_channel_is_the_map_bit_for_bit_and_top_down(tmp_path: Path, channel: str):
    files = render(save(texture(333, 501), "PNG"), outputs="npy,exr", exr={"channel": channel})
    part = read(files["exr"], tmp_path)
    pixels = part.channels[channel].pixels

    assert list(part.channels) == [channel]
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, read_npy(files["npy"]))


def test_attributes_say_what_the_values_are(tmp_path: Path):
    header = read(render(save(texture(), "PNG"), outputs="exr")["exr"], tmp_path).header

    assert header["depthKind"] == "relative_inverse_depth"
    assert header["depthNear"] == "high"
    assert (header["model"], header["weights"], header["weightsSha256"]) == (
        "MiDaS_small",
        "luminance",
        "ab" * 32,
    )
    assert header["compression"] == OpenEXR.ZIP_COMPRESSION
    assert header["type"] == OpenEXR.scanlineimage
    assert [list(corner) for corner in header["dataWindow"]] == [[0, 0], [127, 95]]
    assert header["lineOrder"] == OpenEXR.INCREASING_Y


def test_an_upright_map_of_a_turned_photo(tmp_path: Path):
    files = render(save_turned(scene(240, 320), "JPEG", 6), outputs="exr")
    pixels = read(files["exr"], tmp_path).channels["Z"].pixels

    assert pixels.shape == (240, 320)
    # The bottom right quarter is white, which is near.
    assert pixels[180, 240] > max(pixels[60, 80], pixels[60, 240], pixels[180, 80])


@pytest.mark.parametrize("given", [{"size": "network"}, {"edges": "smooth"}, {"normalize": "job"}])
def test_the_same_values_under_every_option(tmp_path: Path, given: dict[str, Any]):
    files = render(save(texture(300, 400), "PNG"), outputs="npy,exr", **given)

    assert np.array_equal(read(files["exr"], tmp_path).channels["Z"].pixels, read_npy(files["npy"]))


@pytest.mark.parametrize("shape", [(1, 1), (15, 7), (16, 3), (17, 2), (33, 1000), (300, 5)])
@pytest.mark.parametrize("rows", [1, 10, 16, 40])
@pytest.mark.parametrize("kind", ["noise", "smooth", "flat", "half"])
def test_any_shape_in_any_strips(tmp_path: Path, shape: tuple[int, int], rows: int, kind: str):
    values = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    if kind == "smooth":
        values = np.round(values)
    if kind == "flat":
        values[:] = -7.5
    if kind == "half":
        values[shape[0] // 2 :] = 1
    strips = (values[top : top + rows] for top in range(0, shape[0], rows))
    path = tmp_path / "a.exr"
    path.write_bytes(encode_exr(strips, shape, "Y", {"comments": "Grüße"}))
    (part,) = OpenEXR.File(str(path)).parts

    assert np.array_equal(part.channels["Y"].pixels, values)
    assert part.header["comments"] == "Grüße"


def test_values_that_repeat_are_deflated():
    values = np.full((400, 500), 0.5, np.float32)

    assert len(encode_exr([values], values.shape, "Z", {})) < 0.01 * values.nbytes
