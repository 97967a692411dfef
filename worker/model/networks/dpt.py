"""DPT-Large, DPT-Hybrid and DPT with SwinV2-Tiny: transformers whose tokens become maps again.

The architectures, and the keys of their state dicts, are those of `DPTDepthModel` of isl-org/MiDaS, v3 and
v3.1 (Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021; Birkl et al., "MiDaS v3.1",
2023). The encoders are timm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.model.networks.decoder import WIDTH, DptDecoder, head
from worker.model.networks.position import linear, resize_positions
from worker.model.networks.same_padding import freeze_backbone
from worker.model.timm_import import import_timm

#: Patches along each side of the grid that positions are stored for.
_SIDE = 24


class Dpt(nn.Module):
    """Predict relative inverse depth, N x 3 x H x W -> N x H x W; H and W are multiples of 32."""

    def __init__(self, encoder: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.pretrained = encoder
        self.scratch = _Scratch(channels)

    def forward(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.scratch.output_conv(self.scratch.fuse(self.pretrained(x)))
        return prediction.squeeze(1)

    def freeze(self) -> None:
        """Rewrite in place what a runtime cannot take; what is computed stays the same."""
        if isinstance(self.pretrained, _Hybrid):
            freeze_backbone(self.pretrained.model.patch_embed.backbone)


def dpt_large() -> Dpt:
    return Dpt(_Large(), (256, 512, 1024, 1024))


def dpt_hybrid() -> Dpt:
    return Dpt(_Hybrid(), (256, 512, 768, 768))


def dpt_swin2_tiny() -> Dpt:
    return Dpt(_SwinTiny(), (96, 192, 384, 768))


class _Scratch(DptDecoder):
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels, WIDTH)
        self.output_conv = head(WIDTH, align_corners=True)


class _Large(nn.Module):
    """A ViT-L/16 tapped at four depths; its classifier and last norm are never used."""

    def __init__(self) -> None:
        super().__init__()
        self.model = import_timm().create_model("vit_large_patch16_384", pretrained=False)
        width = 1024
        self.act_postprocess1 = _Reassembly(width, 256, nn.ConvTranspose2d(256, 256, kernel_size=4, stride=4))
        self.act_postprocess2 = _Reassembly(width, 512, nn.ConvTranspose2d(512, 512, kernel_size=2, stride=2))
        self.act_postprocess3 = _Reassembly(width, 1024)
        self.act_postprocess4 = _Reassembly(
            width, 1024, nn.Conv2d(1024, 1024, kernel_size=3, stride=2, padding=1)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        patches = self.model.patch_embed.proj(x)
        taps = run_blocks(self.model, tokens_of(self.model, patches), (5, 11, 17, 23))
        makers = (self.act_postprocess1, self.act_postprocess2, self.act_postprocess3, self.act_postprocess4)
        return [make.to_map(tokens, patches) for make, tokens in zip(makers, taps, strict=True)]


class _Hybrid(nn.Module):
    """A ViT-B on the map of a ResNet, whose own stages are the two finest scales."""

    def __init__(self) -> None:
        super().__init__()
        self.model = import_timm().create_model("vit_base_r50_s16_384", pretrained=False)
        self.act_postprocess3 = _Reassembly(768, 768)
        self.act_postprocess4 = _Reassembly(768, 768, nn.Conv2d(768, 768, kernel_size=3, stride=2, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        embed = self.model.patch_embed
        quarter = embed.backbone.stages[0](embed.backbone.stem(x))
        eighth = embed.backbone.stages[1](quarter)
        patches = embed.proj(embed.backbone.norm(embed.backbone.stages[2](eighth)))
        third, fourth = run_blocks(self.model, tokens_of(self.model, patches), (8, 11))
        return [
            quarter,
            eighth,
            self.act_postprocess3.to_map(third, patches),
            self.act_postprocess4.to_map(fourth, patches),
        ]


class _SwinTiny(nn.Module):
    """A SwinV2-Tiny for 256 x 256, tapped at the end of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.model = import_timm().create_model("swinv2_tiny_window16_256", pretrained=False, num_classes=0)

    def forward(self, x: Tensor) -> list[Tensor]:
        scales = []
        x = self.model.patch_embed(x)
        for stage in self.model.layers:
            x = stage(x)
            scales.append(x.permute(0, 3, 1, 2))
        return scales


class _Readout(nn.Module):
    """Append the class token to every patch's, and project both to the width of one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, 1:]
        projected: Tensor = self.project(torch.cat((patches, tokens[:, :1].expand_as(patches)), dim=2))
        return projected


class _Reassembly(nn.Sequential):
    """From tokens, N x (1 + h * w) x C, to a map of one of the scales."""

    def __init__(self, width: int, channels: int, resize: nn.Module | None = None) -> None:
        # The official Sequential reshapes in its second and third place.
        modules = [_Readout(width), nn.Identity(), nn.Identity(), nn.Conv2d(width, channels, kernel_size=1)]
        super().__init__(*modules, *([] if resize is None else [resize]))

    def to_map(self, tokens: Tensor, patches: Tensor) -> Tensor:
        """Return the map; `patches`, N x C x h x w, is what the tokens were made from."""
        readout, _, _, *rest = self
        x = map_of(readout(tokens), patches)
        for module in rest:
            x = module(x)
        return x


def tokens_of(model: Any, patches: Tensor) -> Tensor:
    """Return the tokens of a DPT's transformer, for the embedded patches, N x C x h x w."""
    positions = resize_positions(model.pos_embed, _SIDE, patches, linear)
    return with_class_token(model, patches) + positions


def with_class_token(model: Any, patches: Tensor) -> Tensor:
    """Return the patches' tokens after the class token, N x (1 + h * w) x C."""
    tokens = patches.flatten(2).transpose(1, 2)
    return torch.cat((model.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)


def run_blocks(model: Any, tokens: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """Return the tokens after each of the blocks `taps`, counted from 0."""
    tapped = []
    for number, block in enumerate(model.blocks):
        tokens = block(tokens)
        if number in taps:
            tapped.append(tokens)
    return tapped


def map_of(tokens: Tensor, patches: Tensor) -> Tensor:
    """Return tokens without class token, N x (h * w) x C, as a map of the height and width of `patches`."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, patches.shape[2], patches.shape[3])
