"""The position embedding of a vision transformer, resized to the picture's patches.

Linear and cubic interpolation are written as products with matrices that elementary operations make from the
number of patches, so one exported graph serves every shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: From distances to weights.
Kernel = Callable[[Tensor], Tensor]

#: Positions beyond each border that a kernel may read; they count as those of the border.
_MARGIN = 3


def resize_positions(
    embedding: Tensor, side: int, map_like: Tensor, kernel: Kernel, offset: float = 0.0
) -> Tensor:
    """Return the embedding, 1 x (1 + side^2) x C, for the patches of a map, N x C x h x w.

    The class token's stays. Pixel centres are aligned, and nothing is averaged when the grid shrinks. With an
    offset, positions are scaled by (h + offset) / side and (w + offset) / side instead of h / side and
    w / side, unless the grid keeps its size.
    """
    grid = embedding[0, 1:].reshape(side, side, -1)
    # Tensors, so that a trace records what is computed from them.
    height: Any = torch.as_tensor(map_like.shape[2])
    width: Any = torch.as_tensor(map_like.shape[3])
    extra = offset * ((height != side) | (width != side)).to(torch.float32)
    rows = _matrix(height, side, extra, kernel)
    columns = _matrix(width, side, extra, kernel)
    # Two products of plain matrices: OpenVINO refuses to broadcast one over a stack.
    tall = torch.matmul(rows, grid.flatten(1)).reshape(-1, side, embedding.shape[2])
    wide = torch.matmul(columns, tall.transpose(0, 1).flatten(1)).reshape(-1, height, embedding.shape[2])
    resized = wide.transpose(0, 1).reshape(1, -1, embedding.shape[2])
    return torch.cat((embedding[:, :1], resized), dim=1)


def linear(distance: Tensor) -> Tensor:
    """Return the weights of linear interpolation."""
    return (1 - distance).clamp(min=0)


def cubic(distance: Tensor) -> Tensor:
    """Return the weights of cubic interpolation (Keys, 1981) with a = -0.75, as PyTorch has it."""
    a, d = -0.75, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _matrix(count: Any, side: int, extra: Tensor, kernel: Kernel) -> Tensor:
    """Return the matrix, count x side, that resizes a row of `side` values."""
    position = (torch.arange(count) + 0.5) * (side / (count + extra)) - 0.5
    # A linear kernel must not read beyond the first value, and nothing lies so far out that this cuts it off.
    padded = torch.arange(-_MARGIN, side + _MARGIN)
    weights = kernel((position[:, None] - padded).abs())
    border = (padded.clamp(0, side - 1)[:, None] == torch.arange(side)).to(torch.float32)
    return torch.matmul(weights, border)
