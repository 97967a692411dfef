from __future__ import annotations

import numpy as np
import pytest

from tests.unit.worker.pipeline.outputs.readers import read_npy, read_png, render
from tests.unit.worker.pipeline.pictures import save, texture


@pytest.mark.parametrize("size", ["original", "network"])
def test_three_equal_channels_of_the_full_range_with_near_white(size: str):
    files = render(save(texture(300, 400), "PNG"), outputs="npy,controlnet", size=size)
    depth, shown = read_npy(files["npy"]).astype(np.float64), read_png(files["controlnet"])
    exact = 255 * (depth - depth.min()) / (depth.max() - depth.min())

    assert shown.dtype == np.uint8
    assert shown.shape == (*depth.shape, 3)
    assert (shown.min(), shown.max()) == (0, 255)
    assert (shown == shown[..., :1]).all()
    assert np.abs(shown[..., 0] - exact).max() < 0.51


@pytest.mark.parametrize("given", [{"clip": "10,90"}, {"invert": True}, {"colormap": "spectral"}])
def test_options_of_the_heatmap_do_not_matter(given):
    data = save(texture(200, 300), "PNG")

    assert (
        render(data, outputs="controlnet", **given)["controlnet"].data
        == render(data, outputs="controlnet")["controlnet"].data
    )


def test_a_constant_map_is_black():
    shown = read_png(
        render(save(texture(), "PNG"), np.full((192, 256), 3, np.float32), outputs="controlnet")["controlnet"]
    )

    assert not shown.any()
