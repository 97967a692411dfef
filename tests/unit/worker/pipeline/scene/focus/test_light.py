from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.focus.light import from_light, to_light

BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_every_byte_comes_back():
    assert np.array_equal(from_light(to_light(BYTES)), BYTES)


def test_the_curve_is_that_of_srgb():
    # IEC 61966-2-1: byte 188 is half of the light, byte 10 is on the straight part.
    light = to_light(BYTES).ravel()

    assert (light[0], light[255]) == (0, 1)
    assert light[188] == pytest.approx(0.5029, abs=1e-4)
    assert light[10] == pytest.approx(10 / 255 / 12.92, rel=1e-5)


def test_light_beyond_the_range_is_cut_off():
    assert from_light(np.array([[-0.5, 0.0, 1.0, 7.0]], np.float32)).tolist() == [[0, 0, 255, 255]]
