from __future__ import annotations

import torch
from torch import nn

from shared.networks import MIDAS_SMALL
from worker.model.checkpoint import random_network, unfilled_network


def test_the_state_dict_is_the_official_one_in_names_shapes_and_order(expected, official_entries):
    found = [(name, list(tensor.shape)) for name, tensor in expected.items()]

    assert len(found) == 482
    assert found == official_entries


def test_the_number_of_parameters_is_the_documented_one():
    assert sum(parameter.numel() for parameter in unfilled_network().parameters()) == MIDAS_SMALL.parameters


def test_the_output_is_one_map_for_each_picture_of_its_size():
    network = random_network()

    with torch.inference_mode():
        depth = network(torch.zeros(2, 3, 64, 96))

    assert depth.shape == (2, 64, 96)
    assert depth.dtype == torch.float32


def test_the_output_is_the_raw_prediction_clipped_at_zero():
    network = random_network()
    # Without its bias, the last layer has outputs on both sides of zero.
    last = network.scratch.output_conv[4]
    assert isinstance(last, nn.Conv2d)
    nn.init.normal_(last.weight, generator=torch.Generator().manual_seed(1))
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        raw, depth = network.forward_raw(picture), network(picture)

    assert raw.min() < 0 < raw.max()
    assert torch.equal(depth, raw.clamp(min=0))


def test_every_parameter_gets_a_gradient_except_for_the_unused_unit():
    network = random_network().train()
    picture = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    network.forward_raw(picture).square().mean().backward()

    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert idle == {
        f"scratch.refinenet4.resConfUnit1.{conv}.{kind}"
        for conv in ("conv1", "conv2")
        for kind in ("weight", "bias")
    }


def test_the_constant_padding_is_what_tensorflow_computes_for_every_even_side():
    def computed(side: int, kernel: int) -> tuple[int, int]:
        total = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
        return total // 2, total - total // 2

    assert {computed(side, 3) for side in range(2, 257, 2)} == {(0, 1)}
    assert {computed(side, 5) for side in range(4, 257, 2)} == {(1, 2)}


def test_no_convolution_computes_its_padding_from_the_size_of_its_input():
    names = {type(module).__name__ for module in unfilled_network().modules()}

    assert "Conv2dSame" not in names
