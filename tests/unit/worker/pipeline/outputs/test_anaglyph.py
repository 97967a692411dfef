from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fathom.options import Anaglyph
from worker.pipeline.outputs.anaglyph import mix

Colour = tuple[int, int, int]


def plain(*colour: int) -> NDArray[np.uint8]:
    return np.full((2, 3, 3), colour, np.uint8)


def mixed(left: Colour, right: Colour, colours: Anaglyph) -> Colour:
    picture = mix(plain(*left), plain(*right), colours)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == np.uint8
    assert (picture == picture[0, 0]).all()
    red, green, blue = picture[0, 0].tolist()
    return red, green, blue


# Each by hand: sRGB to linear light, the matrices of the paper, what is below 0 or above 1 cut off, and back.
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((255, 0, 0), (0, 0, 0), (177, 0, 0)),
        ((0, 255, 0), (0, 0, 0), (179, 0, 0)),
        ((0, 0, 255), (0, 0, 0), (113, 0, 0)),
        ((0, 0, 0), (255, 0, 0), (0, 165, 0)),
        ((0, 0, 0), (0, 255, 0), (0, 226, 0)),
        ((0, 0, 0), (0, 0, 255), (0, 23, 255)),
        ((255, 255, 255), (255, 255, 255), (255, 255, 255)),
        ((128, 128, 128), (128, 128, 128), (128, 128, 128)),
        ((0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ],
)
def test_least_squares_colours_follow_the_published_matrices(
    left: Colour, right: Colour, expected: Colour
) -> None:
    assert np.abs(np.subtract(mixed(left, right, Anaglyph.DUBOIS), expected)).max() <= 1


def test_half_colour_takes_the_luma_of_the_left_and_green_and_blue_of_the_right() -> None:
    assert mixed((255, 0, 0), (10, 20, 30), Anaglyph.HALF_COLOR) == (76, 20, 30)


def test_gray_takes_the_luma_of_both() -> None:
    assert mixed((255, 0, 0), (0, 255, 0), Anaglyph.GRAY) == (76, 150, 150)


@pytest.mark.parametrize("level", [0, 1, 77, 128, 254, 255])
@pytest.mark.parametrize("colours", list(Anaglyph))
def test_two_equal_gray_views_stay_as_they_are(colours: Anaglyph, level: int) -> None:
    gray = (level, level, level)

    assert np.abs(np.subtract(mixed(gray, gray, colours), gray)).max() <= (colours is Anaglyph.DUBOIS)
