from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from worker.model.network import MidasSmall
from worker.model.preprocess import LONG_SIDE, MULTIPLE
from worker.model.winograd import FOUR, TWO, Winograd, WinogradConv, apply_winograd


@pytest.fixture(scope="module")
def fast(network: MidasSmall) -> MidasSmall:
    return apply_winograd(copy.deepcopy(network))


def seeded(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def error(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest expected value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


#: From the smallest to the largest; `test_engines` compares the graph at every size, less closely.
SIDES = [
    pytest.param(side, marks=[pytest.mark.slow] if side not in (32, 128, 224) else [])
    for side in range(MULTIPLE, LONG_SIDE + 1, MULTIPLE)
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("upright", [False, True])
def test_the_winograd_network_predicts_the_same_at_every_size(
    network: MidasSmall, fast: MidasSmall, side: int, upright: bool
):
    size = (LONG_SIDE, side) if upright else (side, LONG_SIDE)
    batch = seeded(1, 3, *size)

    with torch.inference_mode():
        assert error(fast(batch), network(batch)) < 1e-5


def test_a_batch_is_predicted_picture_by_picture(fast: MidasSmall):
    batch = seeded(3, 3, 64, 96)

    with torch.inference_mode():
        alone = torch.cat([fast(picture[None]) for picture in batch])
        assert error(fast(batch), alone) < 1e-5


def test_all_residual_units_but_the_coarsest_use_winograd(fast: MidasSmall):
    replaced = [module for module in fast.modules() if isinstance(module, WinogradConv)]

    # Three fusions of two units with two convolutions each, without the end of the decoder.
    assert len(replaced) == 12


@pytest.mark.parametrize("way", [TWO, FOUR])
@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_by_winograd_is_that_convolution(way: Winograd, blocks: int, bias: bool):
    conv = nn.Conv2d(5, 7, kernel_size=3, padding=1, bias=bias)
    picture = seeded(2, 5, blocks * way.step, 11)

    with torch.inference_mode():
        assert error(WinogradConv(conv, way)(picture), conv(picture)) < 1e-5


@pytest.mark.parametrize("way", [TWO, FOUR])
def test_winograd_needs_half_or_two_thirds_of_the_multiplications(way: Winograd):
    direct, products = 3 * way.step, len(way.sums)

    assert products / direct == pytest.approx({2: 2 / 3, 4: 1 / 2}[way.step])


def test_the_border_is_as_exact_as_the_middle(network: MidasSmall, fast: MidasSmall):
    features = seeded(1, 64, 32, 48)
    plain, rewritten = network.scratch.output_conv, fast.scratch.output_conv

    with torch.inference_mode():
        difference = (rewritten(features) - plain(features)).abs() / plain(features).abs().max()

    assert difference.shape == (1, 1, 64, 96)
    for edge in (difference[..., :2, :], difference[..., -2:, :], difference[..., :2], difference[..., -2:]):
        assert edge.max() < 1e-5
