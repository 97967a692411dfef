"""The colour tables against known values of their authors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from shared.options import Colormap
from worker.pipeline.colour import colour_planes, colour_table, colourise, ycc_tables
from worker.pipeline.scratch import Scratch

#: First, middle and last colour, from matplotlib's own tables (`colormaps[name](x, bytes=True)`).
KNOWN = {
    Colormap.INFERNO: ((0, 0, 3), (188, 55, 84), (252, 254, 164)),
    Colormap.MAGMA: ((0, 0, 3), (183, 55, 121), (251, 252, 191)),
    Colormap.VIRIDIS: ((68, 1, 84), (33, 145, 140), (253, 231, 36)),
    Colormap.TURBO: ((48, 18, 59), (164, 252, 59), (122, 4, 2)),
    Colormap.SPECTRAL: ((94, 79, 162), (254, 254, 189), (158, 1, 66)),
    Colormap.GRAY: ((0, 0, 0), (128, 128, 128), (255, 255, 255)),
}


@pytest.mark.parametrize("colormap", Colormap)
def test_tables_are_those_of_their_authors(colormap: Colormap) -> None:
    table = colour_table(colormap)

    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    for index, colour in zip((0, 128, 255), KNOWN[colormap], strict=True):
        assert np.abs(table[index].astype(int) - colour).max() <= 3, (index, table[index])


@pytest.mark.parametrize("colormap", [Colormap.INFERNO, Colormap.MAGMA, Colormap.VIRIDIS, Colormap.GRAY])
def test_near_is_bright(colormap: Colormap) -> None:
    brightness = colour_table(colormap).astype(float) @ (0.299, 0.587, 0.114)

    assert brightness[255] > 190
    assert (np.diff(brightness) > -1.5).all()


@pytest.mark.parametrize("colormap", Colormap)
def test_invert_swaps_near_and_far(colormap: Colormap) -> None:
    assert (colour_table(colormap, invert=True) == colour_table(colormap)[::-1]).all()


def test_colouring_looks_every_index_up() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = colour_table(Colormap.INFERNO)
    coloured = colourise(indices, table, np.empty((16, 16, 3), np.uint8))

    assert (coloured == table[indices]).all()


@pytest.mark.parametrize("colormap", list(Colormap))
@pytest.mark.parametrize("size", [(480, 640), (481, 639), (1, 1), (2, 3), (33, 1)])
def test_planes_are_the_colours_a_jpeg_encoder_would_make_of_the_heatmap(
    colormap: Colormap, size: tuple[int, int]
) -> None:
    # As smooth as a map is: neighbours differ by a level at most.
    ramp = np.linspace(0, min(255, size[0] * size[1] // 2), size[0] * size[1]).reshape(size).astype(np.uint8)
    strips = [(top, ramp[top : top + 32]) for top in range(0, size[0], 32)]
    luma, blue, red = colour_planes(strips, size, ycc_tables(colormap), Scratch())
    rgb = colourise(ramp, colour_table(colormap), np.empty((*size, 3), np.uint8))
    ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb).astype(int)

    assert blue.shape == red.shape == (-(-size[0] // 2), -(-size[1] // 2))
    assert np.abs(luma - ycc[..., 0]).max() <= 1
    assert np.abs(blue - ycc[::2, ::2, 2]).mean() <= 4
    assert np.abs(red - ycc[::2, ::2, 1]).mean() <= 4
