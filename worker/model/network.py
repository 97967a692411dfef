"""MiDaS_small: monocular relative inverse depth on an EfficientNet-Lite3 encoder.

The architecture, and every key of its state dict, is that of `MidasNet_small` of release
v2.1 of isl-org/MiDaS (Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI
2022), so that the official checkpoint loads strictly. The encoder is timm's.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from worker.model.timm_import import import_timm

ENCODER = "tf_efficientnet_lite3"

#: Channels of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32 of the input.
ENCODER_CHANNELS = (32, 48, 136, 384)

#: Channels of the decoder at the same four scales.
DECODER_CHANNELS = (64, 128, 256, 512)


class MidasSmall(nn.Module):
    """Predict relative inverse depth, N x 3 x H x W -> N x H x W; bigger is nearer.

    The input is normalised RGB (see `worker.model.preprocess`); H and W are multiples of 32.
    The weights are random until a state dict is loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = _Encoder()
        self.scratch = _Decoder()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.forward_raw(x))

    def forward_raw(self, x: Tensor) -> Tensor:
        """Return the prediction before the last ReLU, N x H x W.

        Training uses this: where the last ReLU puts out zeros no gradient passes, and an
        output that has died everywhere never comes back.
        """
        prediction: Tensor = self.scratch(*self.pretrained(x))
        return prediction.squeeze(1)


class _Encoder(nn.Module):
    """The stages of EfficientNet-Lite3, grouped by the scale of their output."""

    def __init__(self) -> None:
        super().__init__()
        encoder = import_timm().create_model(ENCODER, pretrained=False)
        _freeze_same_padding(encoder)
        blocks = encoder.blocks
        # timm's bn1 contains the activation; Identity stands where the official network
        # has it, so that the blocks after it keep their numbers.
        self.layer1 = nn.Sequential(encoder.conv_stem, encoder.bn1, nn.Identity(), *blocks[0:2])
        self.layer2 = nn.Sequential(*blocks[2:3])
        self.layer3 = nn.Sequential(*blocks[3:5])
        self.layer4 = nn.Sequential(*blocks[5:7])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return quarter, eighth, sixteenth, self.layer4(sixteenth)


class _Decoder(nn.Module):
    """Fuse the encoder's scales from the coarsest to the finest, to N x 1 x H x W."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = DECODER_CHANNELS
        # The order of these lines is the order of the official state dict.
        self.layer1_rn = _reduce(ENCODER_CHANNELS[0], a)
        self.layer2_rn = _reduce(ENCODER_CHANNELS[1], b)
        self.layer3_rn = _reduce(ENCODER_CHANNELS[2], c)
        self.layer4_rn = _reduce(ENCODER_CHANNELS[3], d)
        self.refinenet4 = _Fusion(d, c)
        self.refinenet3 = _Fusion(c, b)
        self.refinenet2 = _Fusion(b, a)
        self.refinenet1 = _Fusion(a, a)
        # The official Sequential ends in a ReLU, which MidasSmall.forward applies instead.
        self.output_conv = nn.Sequential(
            nn.Conv2d(a, 32, kernel_size=3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(32, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, kernel_size=1),
        )

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor, coarsest: Tensor) -> Tensor:
        x = self.refinenet4(self.layer4_rn(coarsest))
        x = self.refinenet3(x, self.layer3_rn(sixteenth))
        x = self.refinenet2(x, self.layer2_rn(eighth))
        x = self.refinenet1(x, self.layer1_rn(quarter))
        prediction: Tensor = self.output_conv(x)
        return prediction


class _Fusion(nn.Module):
    """Add a finer scale to the path, refine the sum and double its size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, out_channels, kernel_size=1)
        # The coarsest fusion has nothing to add and never uses its first unit; the
        # official state dict holds it all the same.
        self.resConfUnit1 = _ResidualUnit(channels)
        self.resConfUnit2 = _ResidualUnit(channels)

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        path = self.resConfUnit2(path)
        path = F.interpolate(path, scale_factor=2, mode="bilinear", align_corners=True)
        fused: Tensor = self.out_conv(path)
        return fused


class _ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions, each after a ReLU, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return residual + x


class _FrozenSameConv2d(nn.Conv2d):
    """A stride-2 convolution padded "SAME" as TensorFlow does for an even-sized input.

    TensorFlow computes this padding from the input's size. All sizes here are even (the
    input's sides are multiples of 32), and then it is always kernel - 2 pixels in all, the
    odd one after the picture: (0, 1) for kernel 3, (1, 2) for kernel 5. As constants, they
    let one exported graph serve every shape.
    """

    def forward(self, x: Tensor) -> Tensor:
        total = self.kernel_size[0] - 2
        before, after = total // 2, total - total // 2
        return super().forward(F.pad(x, (before, after, before, after)))


def _reduce(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


def _freeze_same_padding(encoder: nn.Module) -> None:
    """Replace every convolution of `encoder` whose padding depends on its input's size."""
    for parent in list(encoder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                setattr(parent, name, _frozen(child))


def _frozen(conv: nn.Conv2d) -> _FrozenSameConv2d:
    """Return a convolution with the parameters of `conv` and constant padding."""
    frozen = _FrozenSameConv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size[0], stride=2, groups=conv.groups, bias=False
    )
    frozen.weight = conv.weight
    return frozen
