"""Compare the colour tables with known values of their authors."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from fathom.options import Colormap
from worker.pipeline.colour import BAND_ROWS, colour_bands, colour_table, colourise, ycc_tables
from worker.pipeline.photo import Pixels
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
def test_colour_tables_equal_the_originals(colormap: Colormap) -> None:
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


def planes_of(strips: Iterable[tuple[int, Pixels]], width: int, colormap: Colormap) -> list[Pixels]:
    bands = colour_bands(iter(strips), width, ycc_tables(colormap), Scratch())
    return [np.concatenate(planes) for planes in zip(*([p.copy() for p in b] for b in bands), strict=True)]


@pytest.mark.parametrize("colormap", list(Colormap))
@pytest.mark.parametrize("size", [(480, 640), (481, 639), (1, 1), (2, 3), (33, 1)])
def test_planes_are_the_colours_a_jpeg_encoder_would_make_of_the_heatmap(
    colormap: Colormap, size: tuple[int, int]
) -> None:
    # As smooth as a depth map: neighbours differ by at most one level.
    ramp = np.linspace(0, min(255, size[0] * size[1] // 2), size[0] * size[1]).reshape(size).astype(np.uint8)
    strips = [(top, ramp[top : top + 32]) for top in range(0, size[0], 32)]
    luma, blue, red = planes_of(strips, size[1], colormap)
    rgb = colourise(ramp, colour_table(colormap), np.empty((*size, 3), np.uint8))
    ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb).astype(int)

    half = -(-size[0] // 2), -(-size[1] // 2)
    assert blue.shape == red.shape == half
    assert luma.shape == (2 * half[0], 2 * half[1])
    assert np.abs(luma[: size[0], : size[1]] - ycc[..., 0]).max() <= 1
    assert np.abs(blue - ycc[::2, ::2, 2]).mean() <= 4
    assert np.abs(red - ycc[::2, ::2, 1]).mean() <= 4


@pytest.mark.parametrize("rows", [2, 10, 32, BAND_ROWS, 200, 1000])
def test_bands_do_not_depend_on_the_height_of_the_strips(rows: int) -> None:
    indices = np.random.default_rng(1).integers(0, 256, (531, 37), np.uint8)
    strips = [(top, indices[top : top + rows]) for top in range(0, 531, rows)]
    heights = [
        band[0].shape[0] for band in colour_bands(iter(strips), 37, ycc_tables(Colormap.TURBO), Scratch())
    ]

    assert heights == [BAND_ROWS] * 4 + [532 - 4 * BAND_ROWS]
    for found, wanted in zip(
        planes_of(strips, 37, Colormap.TURBO), planes_of([(0, indices)], 37, Colormap.TURBO), strict=True
    ):
        assert np.array_equal(found, wanted)


def test_an_odd_last_row_and_column_are_repeated() -> None:
    indices = np.random.default_rng(1).integers(0, 256, (131, 7), np.uint8)
    luma, _, _ = planes_of([(0, indices)], 7, Colormap.GRAY)

    assert luma.shape == (132, 8)
    assert np.array_equal(luma[131], luma[130])
    assert np.array_equal(luma[:, 7], luma[:, 6])
