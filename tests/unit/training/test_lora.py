from __future__ import annotations

import torch
from torch import nn

from training.lora import add_adapters, merged_state


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 2, 1))


def test_adapters_change_nothing_before_they_learn() -> None:
    network, x = make_network(), torch.randn(1, 3, 8, 8)
    before = network(x)
    add_adapters(network, 4)

    assert torch.allclose(network(x), before)


def test_only_adapters_learn_and_grouped_convolutions_have_none() -> None:
    network = make_network()
    learned = add_adapters(network, 4)

    assert len(learned) == 4
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in learned}


def test_merging_keeps_the_function_and_restores_the_keys() -> None:
    network, x = make_network(), torch.randn(1, 3, 8, 8)
    keys = list(network.state_dict())
    original = network(x)
    for parameter in add_adapters(network, 4):
        nn.init.normal_(parameter.data)
    adapted = network(x)
    plain = make_network()
    plain.load_state_dict(merged_state(network))

    assert sorted(merged_state(network)) == sorted(keys)
    assert torch.allclose(plain(x), adapted, atol=1e-5)
    assert not torch.allclose(plain(x), original, atol=1e-2)
