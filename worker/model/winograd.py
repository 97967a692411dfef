"""Rewrite the network with Winograd's filtering, so that workers have less to compute.

In exact arithmetic nothing changes, so predictions move only by rounding: 7e-7 of their range. Training,
the parity tests and `fathom model export --format onnx` use the network as it was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.model.network import Fusion, MidasSmall, ResidualUnit, double

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Winograd:
    """Filtering with three taps: outputs = out @ ((filter @ taps) * (sums @ inputs)).

    The matrices are those of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
    (CVPR 2016); `_rows_out` holds `out`.
    """

    #: Outputs of one block, and rows between two blocks.
    step: int
    sums: Matrix
    filter: Matrix


#: Two outputs for four multiplications instead of six.
TWO = Winograd(
    step=2,
    sums=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    filter=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
)

#: Four outputs for six multiplications instead of twelve.
FOUR = Winograd(
    step=4,
    sums=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    filter=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
)

#: By the channels of a residual unit. Units of 64 and 128 channels see a quarter and an eighth of the
#: input's size, where the height is a multiple of 4; units of 256 see a sixteenth, where it is a multiple
#: of 2. Units of 512 see so few pixels that reading twice the weights costs more than it saves.
_WAYS = {64: FOUR, 128: FOUR, 256: TWO}


def apply_winograd(network: MidasSmall) -> MidasSmall:
    """Rewrite a network in place into one that computes the same in fewer steps; return it."""
    for name, fusion in list(network.scratch.named_children()):
        if isinstance(fusion, Fusion):
            _convert_unit(fusion.resConfUnit1)
            _convert_unit(fusion.resConfUnit2)
            setattr(network.scratch, name, _FusionAtHalfSize(fusion))
    first, _, conv, _, last = network.scratch.output_conv
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    network.scratch.output_conv = nn.Sequential(first, _DoublingEnd(conv, last))
    return network


def _convert_unit(unit: ResidualUnit) -> None:
    way = _WAYS.get(unit.conv1.in_channels)
    if way is not None:
        # mypy: a module may be assigned another module; torch's stubs do not say so.
        unit.conv1 = WinogradConv(unit.conv1, way)  # type: ignore[assignment]
        unit.conv2 = WinogradConv(unit.conv2, way)  # type: ignore[assignment]


class _FusionAtHalfSize(nn.Module):
    """A fusion that convolves before it doubles the size, with a quarter of the work.

    Interpolation averages pixels with weights that add up to 1, and a 1 x 1 convolution sums channels and
    adds a bias, so their order does not matter.
    """

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        return double(self.fusion.out_conv(self.fusion.refine(path, skip)))


class WinogradConv(nn.Module):
    """A 3 x 3 convolution, padded with zeros, by Winograd's filtering along the height.

    It sums the rows of each input block, convolves each sum with a 1 x 3 filter of its own, and sums the
    results to the output rows. The height must be a multiple of the step. It does not treat columns the
    same way: their sums would cost what they save.
    """

    def __init__(self, conv: nn.Conv2d, way: Winograd) -> None:
        super().__init__()
        self.step, self.count = way.step, len(way.sums)
        #: For each sum, the depthwise convolution that makes it.
        self.sums = nn.ParameterList(_constant(_sum_filter(row, conv.in_channels)) for row in way.sums)
        #: The filters of all sums, as groups of one convolution.
        filters = torch.einsum("kr,oirc->koic", torch.tensor(way.filter), conv.weight.detach())
        self.weight = _constant(filters.flatten(0, 1)[:, :, None].contiguous())
        bias = torch.zeros(self.count, conv.out_channels)
        if conv.bias is not None:
            # The second product enters every output row with the factor 1.
            bias[1] = conv.bias.detach()
        self.bias = _constant(bias.flatten())

    def forward(self, x: Tensor) -> Tensor:
        sums = [F.conv2d(x, row, stride=(self.step, 1), padding=(1, 0), groups=len(row)) for row in self.sums]
        filtered = F.conv2d(torch.cat(sums, dim=1), self.weight, self.bias, padding=(0, 1), groups=self.count)
        rows = _rows_out(filtered.chunk(self.count, dim=1))
        # The rows of a block now lie side by side. With the channels last, as runtimes store them, stacking
        # the rows moves no data.
        beside = torch.cat(rows, dim=3).permute(0, 2, 3, 1)
        below = beside.reshape(x.shape[0], -1, x.shape[3], len(self.bias) // self.count)
        return below.permute(0, 3, 1, 2)


#: Six rows of a picture of double height, from the four rows around them.
_DOUBLED = (
    (3 / 4, 1 / 4, 0, 0),
    (1 / 4, 3 / 4, 0, 0),
    (0, 3 / 4, 1 / 4, 0),
    (0, 1 / 4, 3 / 4, 0),
    (0, 0, 3 / 4, 1 / 4),
    (0, 0, 1 / 4, 3 / 4),
)


class _DoublingEnd(nn.Module):
    """The end of the decoder: double the size, then a 3 x 3 convolution, ReLU, and a 1 x 1 convolution.

    Doubling is linear, as the row sums of `FOUR` are, so one filter makes both from the small rows. The
    large picture never exists.
    """

    def __init__(self, conv: nn.Conv2d, last: nn.Conv2d) -> None:
        super().__init__()
        sums = torch.tensor(FOUR.sums, dtype=torch.float32) @ torch.tensor(_DOUBLED)
        self.sums = nn.ParameterList(_constant(_sum_filter(row, conv.in_channels)) for row in sums.tolist())
        filters = torch.einsum("kr,oirc->koic", torch.tensor(FOUR.filter), conv.weight.detach())
        # Separate convolutions: groups of so few channels would take longer.
        self.filters = nn.ParameterList(_constant(taps[:, :, None].contiguous()) for taps in filters)
        self.bias, self.last = conv.bias, last

    def forward(self, x: Tensor) -> Tensor:
        framed = F.pad(x, (0, 0, 1, 1), mode="replicate")
        wide = F.interpolate(framed, scale_factor=(1, 2), mode="bilinear", align_corners=False)
        sums = [F.conv2d(wide, row, stride=(2, 1), groups=len(row)) for row in self.sums]
        # Beyond the border, doubling repeats the last row, but the convolution pads with zeros. Only these
        # two sums hold a row beyond it, with factors of 4 and 1.
        sums[0] = torch.cat((sums[0][:, :, :1] - 4 * wide[:, :, :1], sums[0][:, :, 1:]), dim=2)
        sums[5] = torch.cat((sums[5][:, :, :-1], sums[5][:, :, -1:] - wide[:, :, -1:]), dim=2)
        # The second product enters every output row with the factor 1.
        products = [
            F.conv2d(rows, taps, self.bias if number == 1 else None, padding=(0, 1))
            for number, (rows, taps) in enumerate(zip(sums, self.filters, strict=True))
        ]
        beside = torch.cat([self.last(F.relu(row)) for row in _rows_out(products)], dim=3)
        # With a single channel, rows side by side are stored as stacked rows are.
        return beside.reshape(x.shape[0], 1, 2 * x.shape[2], 2 * x.shape[3])


def _rows_out(products: Sequence[Tensor]) -> list[Tensor]:
    """Multiply by the matrix `out`, ((1, 1, 1, 0), (0, 1, -1, -1)) for two rows, and for four:

    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)).
    """
    first, a, b, *others, last = products
    if not others:
        return [first + a + b, a - b - last]
    c, d = others
    inner, outer, near, far = a + b, c + d, a - b, c - d
    return [first + inner + outer, near + 2 * far, inner + 4 * outer, near + 8 * far + last]


def _sum_filter(factors: Sequence[float], channels: int) -> Tensor:
    return torch.tensor(factors, dtype=torch.float32).reshape(1, 1, -1, 1).repeat(channels, 1, 1, 1)


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
