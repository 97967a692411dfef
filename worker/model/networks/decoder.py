"""The decoder that MiDaS v2.1 large, the DPT networks and Depth Anything share, all scales of one width.

It is that of RefineNet (Lin et al., CVPR 2017), as isl-org/MiDaS and DepthAnything/Depth-Anything-V2 have it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from worker.model.network import ResidualUnit, double

#: Channels of the decoder in the MiDaS networks.
WIDTH = 256


class CutUnit(ResidualUnit):
    """A residual unit that adds its input after the ReLU, as that of MiDaS v2.1 large does.

    The official ReLU works in place there, so what is added at the end is already cut off at zero.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.relu(x))


class WideFusion(nn.Module):
    """Add a finer scale to the path, refine the sum and resize it to the next finer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, kernel_size=1)
        # The coarsest fusion never uses its first unit, but the official state dict has it.
        self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)

    def forward(self, path: Tensor, skip: Tensor | None, finer: Tensor | None) -> Tensor:
        """Fuse; the result has the height and width of `finer`, or twice those of `path`."""
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        # The official network resizes first. Interpolation averages with weights that add up to 1, so a
        # 1 x 1 convolution may come before it, with a quarter of the work.
        refined: Tensor = self.out_conv(self.resConfUnit2(path))
        return double(refined) if finer is None else resize_to(refined, finer)


class CutFusion(nn.Module):
    """The fusion of MiDaS v2.1 large: no last convolution, and units that cut off what they add."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resConfUnit1 = CutUnit(width)
        self.resConfUnit2 = CutUnit(width)

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        return double(self.resConfUnit2(path))


def reductions(channels: Sequence[int], width: int) -> list[nn.Conv2d]:
    """Return the convolutions that bring the encoder's scales to the decoder's width."""
    return [nn.Conv2d(count, width, kernel_size=3, padding=1, bias=False) for count in channels]


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Resize to the height and width of `like` by linear interpolation with aligned corners."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def head(width: int, *, align_corners: bool) -> nn.Sequential:
    """Return the end of a MiDaS network: convolve, double the size, and convolve to one channel."""
    return nn.Sequential(
        nn.Conv2d(width, width // 2, kernel_size=3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners),
        nn.Conv2d(width // 2, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, kernel_size=1),
        nn.ReLU(),
    )


class DptDecoder(nn.Module):
    """The decoder of the DPT networks; Depth Anything has it with another head."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        # The order of these lines is the order of the official state dict.
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = reductions(channels, width)
        self.refinenet1 = WideFusion(width)
        self.refinenet2 = WideFusion(width)
        self.refinenet3 = WideFusion(width)
        self.refinenet4 = WideFusion(width)

    def fuse(self, scales: Sequence[Tensor]) -> Tensor:
        """Fuse four scales, the finest first, to a map of twice the finest's size."""
        a, b, c, d = scales
        first, second = self.layer1_rn(a), self.layer2_rn(b)
        third, fourth = self.layer3_rn(c), self.layer4_rn(d)
        path = self.refinenet4(fourth, None, third)
        path = self.refinenet3(path, third, second)
        path = self.refinenet2(path, second, first)
        fused: Tensor = self.refinenet1(path, first, None)
        return fused
