from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.pipeline.scene.enlarge import enlarge


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("fold", [1, 2, 3, 8])
def test_parts_of_an_enlarged_picture_are_those_of_the_whole(fold: int, dtype: type):
    small: NDArray[Any] = np.random.default_rng(3).integers(0, 256, (9, 13, 3)).astype(dtype)
    whole = enlarge(small, fold, slice(0, 9 * fold + fold - 1), slice(0, 13 * fold + fold - 1))
    rows, columns = slice(2 * fold + 1, 5 * fold + 1), slice(3 * fold, 13 * fold)

    assert np.allclose(enlarge(small, fold, rows, columns), whole[rows, columns], rtol=1e-6)
    assert np.array_equal(whole[-1], whole[9 * fold - 1])
