from __future__ import annotations

import numpy as np
import pytest

from training.lens import defocus, develop


def stripes() -> np.ndarray:
    return np.repeat(np.tile([0.0, 1.0], 24)[None, :, None], 40, 0).repeat(3, 2).astype(np.float32)


def test_defocus_keeps_an_even_picture_even() -> None:
    inverse = np.tile(np.linspace(0.1, 1, 48, dtype=np.float32), (40, 1))
    blurred = defocus(np.full((40, 48, 3), 0.5, np.float32), inverse, 1.0, 5.0)

    assert blurred == pytest.approx(np.full((40, 48, 3), 0.5), abs=1e-3)


def test_defocus_blurs_what_is_far_and_spares_what_is_in_focus() -> None:
    inverse = np.full((40, 48), 0.01, np.float32)
    inverse[:20] = 1.0
    blurred = defocus(stripes(), inverse, 1.0, 6.0)

    assert blurred[8].std() == pytest.approx(0.5, abs=0.02)
    assert blurred[32].std() < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_developing_gives_a_picture_of_bytes_that_is_not_flat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    light = np.random.default_rng(99).gamma(1.0, 0.5, (40, 48, 3)).astype(np.float32)
    picture = develop(rng, light, np.ones((40, 48), np.float32), focus=1.0, wide_open=0.5)

    assert picture.dtype == np.uint8
    assert picture.shape == (40, 48, 3)
    assert picture.std() > 10
