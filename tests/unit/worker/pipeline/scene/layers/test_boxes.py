from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.layers.boxes import find_boxes


@pytest.mark.parametrize(("values", "shape"), [(256, (40, 50)), (3, (1, 70)), (9, (70, 1)), (1, (5, 6))])
def test_boxes_and_areas_are_those_of_a_search_for_each_number(values: int, shape: tuple[int, int]):
    numbers = np.random.default_rng(5).integers(0, values, shape, np.uint8)
    numbers[: shape[0] // 2] = numbers[0, 0]
    boxes = find_boxes(numbers)

    assert np.array_equal(boxes.area, np.bincount(numbers.ravel(), minlength=256))
    for number in np.unique(numbers).tolist():
        rows, columns = np.nonzero(numbers == number)
        found = boxes.top[number], boxes.left[number], boxes.bottom[number], boxes.right[number]
        assert found == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
