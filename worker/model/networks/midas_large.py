"""MiDaS v2.1 large: a ResNeXt101 that Facebook trained on a billion pictures, and a wide decoder.

The architecture, and every key of its state dict, is that of `MidasNet` of release v2.1 of isl-org/MiDaS
(Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2022). The encoder is timm's.
"""

from __future__ import annotations

from torch import Tensor, nn

from worker.model.networks.decoder import WIDTH, CutFusion, head, reductions
from worker.model.timm_import import import_timm

ENCODER = "resnext101_32x8d"

#: Channels of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32 of the input.
_CHANNELS = (256, 512, 1024, 2048)


class MidasLarge(nn.Module):
    """Predict relative inverse depth, N x 3 x H x W -> N x H x W; H and W are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = _Encoder()
        self.scratch = _Decoder()

    def forward(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.scratch(*self.pretrained(x))
        return prediction.squeeze(1)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        encoder = import_timm().create_model(ENCODER, pretrained=False)
        self.layer1 = nn.Sequential(encoder.conv1, encoder.bn1, encoder.act1, encoder.maxpool, encoder.layer1)
        self.layer2, self.layer3, self.layer4 = encoder.layer2, encoder.layer3, encoder.layer4

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return quarter, eighth, sixteenth, self.layer4(sixteenth)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # The order of these lines is the order of the official state dict.
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = reductions(_CHANNELS, WIDTH)
        self.refinenet4 = CutFusion(WIDTH)
        self.refinenet3 = CutFusion(WIDTH)
        self.refinenet2 = CutFusion(WIDTH)
        self.refinenet1 = CutFusion(WIDTH)
        self.output_conv = head(WIDTH, align_corners=False)

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor, coarsest: Tensor) -> Tensor:
        path = self.refinenet4(self.layer4_rn(coarsest))
        path = self.refinenet3(path, self.layer3_rn(sixteenth))
        path = self.refinenet2(path, self.layer2_rn(eighth))
        path = self.refinenet1(path, self.layer1_rn(quarter))
        prediction: Tensor = self.output_conv(path)
        return prediction
