from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from shared.networks import WayBack
from worker.pipeline.depth import resize, upsample
from worker.pipeline.linear import LinearUpsampler
from worker.pipeline.scratch import Scratch


@pytest.mark.parametrize("size", [(300, 517), (41, 30), (42, 28), (500, 28), (1, 1)])
def test_the_map_is_what_torch_makes_with_aligned_corners(size: tuple[int, int]):
    prediction = np.random.default_rng(0).random((42, 28), np.float32)

    depth = upsample(prediction, *size, Scratch(), way_back=WayBack.LINEAR)

    wanted = F.interpolate(
        torch.from_numpy(prediction)[None, None], size=size, mode="bilinear", align_corners=True
    )[0, 0].numpy()
    values = depth.values
    assert np.abs(values - wanted).max() < 1e-5
    assert (depth.low, depth.high) == (values.min(), values.max())


def test_the_map_at_another_size_is_resized_in_the_same_way():
    prediction = np.random.default_rng(1).random((14, 28), np.float32)
    depth = upsample(prediction, 90, 170, Scratch(), way_back=WayBack.LINEAR)

    again = resize(depth, 33, 61, Scratch())

    assert isinstance(again.upsampler, LinearUpsampler)
    assert (again.values == upsample(prediction, 33, 61, Scratch(), way_back=WayBack.LINEAR).values).all()
