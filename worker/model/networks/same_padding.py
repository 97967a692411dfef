"""Rewrite the ResNet of DPT-Hybrid into plain operations.

Its convolutions standardise their weights and find their padding at each call, and OpenVINO 2026.4 crashes on
its group normalisation. Rewritten, the weights are standardised once, the padding is constant, and the
normalisation is made of means, products and roots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def freeze_backbone(backbone: nn.Module) -> None:
    """Rewrite timm's ResNetV2 in place, for inputs whose sides are multiples of 32."""
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, _frozen(child))
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, _FrozenMaxPool())
            elif isinstance(child, nn.GroupNorm):
                setattr(parent, name, _PlainGroupNorm(child))


def same_padding(kernel: int) -> tuple[int, int]:
    """Return what TensorFlow's "SAME" pads before and after an even side, at stride 2."""
    total = max(kernel - 2, 0)
    return total // 2, total - total // 2


class _PaddedConv(nn.Module):
    def __init__(self, conv: nn.Conv2d, before: int, after: int) -> None:
        super().__init__()
        self.conv = conv
        self.padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = self.conv(F.pad(x, self.padding))
        return convolved


class _FrozenMaxPool(nn.Module):
    """A maximum over 3 x 3 at stride 2. It follows a ReLU, so zeros serve as padding."""

    def forward(self, x: Tensor) -> Tensor:
        before, after = same_padding(3)
        return F.max_pool2d(F.pad(x, (before, after, before, after)), kernel_size=3, stride=2)


class _PlainGroupNorm(nn.Module):
    """Group normalisation in elementary operations, and the activation that timm joins to it."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        self.act = getattr(norm, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        grouped = x.reshape(count, self.groups, -1)
        centred = grouped - grouped.mean(dim=2, keepdim=True)
        variance = (centred * centred).mean(dim=2, keepdim=True)
        normal = (centred * torch.rsqrt(variance + self.eps)).reshape(count, channels, height, width)
        activated: Tensor = self.act(normal * self.weight[:, None, None] + self.bias[:, None, None])
        return activated


def _frozen(conv: nn.Conv2d) -> nn.Module:
    """Return a plain convolution with standardised weights and constant padding."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, kernel, stride=stride, bias=False, device=conv.weight.device
    )
    plain.weight = nn.Parameter(_standardised(conv), requires_grad=False)
    if stride == 1:
        plain.padding = (kernel // 2, kernel // 2)
        return plain
    return _PaddedConv(plain, *same_padding(kernel))


def _standardised(conv: nn.Conv2d) -> Tensor:
    """Return the weights with mean 0 and variance 1 for each output (Qiao et al., 2019)."""
    eps = float(getattr(conv, "eps", 1e-8))
    # As the official code does it, down to the rounding.
    rows = conv.weight.detach().reshape(1, conv.out_channels, -1)
    return F.batch_norm(rows, None, None, training=True, momentum=0.0, eps=eps).reshape_as(conv.weight)
