"""Build the PyTorch module of a network in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn

from shared.networks import DPT_SWIN2_TINY, Network
from worker.model.network import MidasSmall
from worker.model.networks.depth_anything import DepthAnythingSmall
from worker.model.networks.dpt import dpt_hybrid, dpt_large, dpt_swin2_tiny
from worker.model.networks.midas_large import MidasLarge

_MAKERS: dict[str, Callable[[], nn.Module]] = {
    "midas_small": MidasSmall,
    "midas_large": MidasLarge,
    "dpt_hybrid": dpt_hybrid,
    "dpt_large": dpt_large,
    "dpt_swin2_tiny": dpt_swin2_tiny,
    "depth_anything_v2_small": DepthAnythingSmall,
}

_DOWNSAMPLE = re.compile(r"^(pretrained\.model\.layers\.)(\d+)(\.downsample\..*)$")


def build(network: Network) -> nn.Module:
    """Return a module whose tensors are empty, or random where a network computes some of its own."""
    make = _MAKERS[network.name]
    if network == DPT_SWIN2_TINY:
        # Its masks and tables of positions are in no file, so they must be computed here.
        return make()
    with torch.device("meta"):
        return make()


def official_name(network: Network, name: str) -> str:
    """Return the official name of an entry of our state dict.

    Only SwinV2's differ: timm merges patches at the start of a stage, the official code at the end of the
    one before.
    """
    found = _DOWNSAMPLE.match(name) if network == DPT_SWIN2_TINY else None
    if found is None:
        return name
    before, stage, after = found.groups()
    return f"{before}{int(stage) - 1}{after}"
