"""Depth Anything V2 Small: a DINOv2 ViT-S/14 and a narrow decoder.

The architecture, and the keys of its state dict, is that of `DepthAnythingV2` with the encoder `vits` of
DepthAnything/Depth-Anything-V2 (Yang et al., "Depth Anything V2", NeurIPS 2024). The encoder is timm's.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from worker.model.networks.decoder import DptDecoder
from worker.model.networks.dpt import map_of, run_blocks, with_class_token
from worker.model.networks.position import cubic, resize_positions
from worker.model.timm_import import import_timm

ENCODER = "vit_small_patch14_dinov2"

#: Pixels of a patch, along each side.
PATCH = 14

#: Patches along each side of the grid that positions are stored for.
_SIDE = 37

#: DINOv2 scales positions by the number of patches plus this, which moves the samples a little.
_OFFSET = 0.1

_TAPS = (2, 5, 8, 11)
_CHANNELS = (48, 96, 192, 384)
_WIDTH = 64


class DepthAnythingSmall(nn.Module):
    """Predict relative inverse depth, N x 3 x H x W -> N x H x W; H and W are multiples of 14."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = import_timm().create_model(ENCODER, pretrained=False, num_classes=0)
        self.depth_head = _Head(self.pretrained.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.pretrained.patch_embed.proj(x)
        positions = resize_positions(self.pretrained.pos_embed, _SIDE, patches, cubic, _OFFSET)
        tokens = with_class_token(self.pretrained, patches) + positions
        taps = run_blocks(self.pretrained, tokens, _TAPS)
        maps = [map_of(self.pretrained.norm(tap)[:, 1:], patches) for tap in taps]
        prediction: Tensor = self.depth_head(maps, x)
        return prediction.squeeze(1)


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first, second, _, fourth = _CHANNELS
        self.projects = nn.ModuleList(nn.Conv2d(width, count, kernel_size=1) for count in _CHANNELS)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, kernel_size=4, stride=4),
                nn.ConvTranspose2d(second, second, kernel_size=2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, kernel_size=3, stride=2, padding=1),
            ]
        )
        self.scratch = _Scratch()

    def forward(self, maps: list[Tensor], picture: Tensor) -> Tensor:
        scales = [
            resize(project(tap))
            for resize, project, tap in zip(self.resize_layers, self.projects, maps, strict=True)
        ]
        half = self.scratch.output_conv1(self.scratch.fuse(scales))
        full = F.interpolate(half, size=picture.shape[2:], mode="bilinear", align_corners=True)
        prediction: Tensor = self.scratch.output_conv2(full)
        return prediction


class _Scratch(DptDecoder):
    def __init__(self) -> None:
        super().__init__(_CHANNELS, _WIDTH)
        self.output_conv1 = nn.Conv2d(_WIDTH, _WIDTH // 2, kernel_size=3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(_WIDTH // 2, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, kernel_size=1),
            nn.ReLU(),
        )
