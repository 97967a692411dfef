"""The same network with less to compute: how it is exported for the workers' own use.

In real numbers nothing changes, so that the prediction moves by what rounding moves it: 7e-7
of its range. Training, the parity tests and `fathom model export --format onnx` have the network
as it was published.
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
    """A way to filter with three taps: outputs = out @ ((filter @ taps) * (sums @ inputs)).

    The matrices are those of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
    (CVPR 2016); `out` is written down in `WinogradConv`.
    """

    #: Outputs made at once, and how many rows one such block goes beyond the one before.
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

#: By the channels of a residual unit. Those of 64 and 128 work at a quarter and an eighth of the
#: input's size, where the height is a multiple of 4; those of 256 at a sixteenth, where it is a
#: multiple of 2. Those of 512 have so few pixels that reading twice the weights costs more.
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
        # mypy: modules take other modules in the place of theirs; torch's stubs do not say so.
        unit.conv1 = WinogradConv(unit.conv1, way)  # type: ignore[assignment]
        unit.conv2 = WinogradConv(unit.conv2, way)  # type: ignore[assignment]


class _FusionAtHalfSize(nn.Module):
    """A fusion that convolves before it doubles the size, at a quarter of the work.

    Interpolating takes means of pixels whose weights add up to 1, a 1 x 1 convolution sums of
    channels and a bias: which comes first is all the same.
    """

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        return double(self.fusion.out_conv(self.fusion.refine(path, skip)))


class WinogradConv(nn.Module):
    """A 3 x 3 convolution, padded with zeros, by Winograd's filtering along the height.

    Of each block of rows in, sums are made; each sum is convolved with a 1 x 3 filter of its own,
    and sums of the results are the rows out. The height must be a multiple of the step. The
    width stays as it is: sums of columns too would cost what they save.
    """

    def __init__(self, conv: nn.Conv2d, way: Winograd) -> None:
        super().__init__()
        self.step, self.count = way.step, len(way.sums)
        #: For each sum a convolution that makes it, of every channel by itself.
        self.sums = nn.ParameterList(_constant(_sum_filter(row, conv.in_channels)) for row in way.sums)
        #: The filters of all sums, as groups of one convolution.
        filters = torch.einsum("kr,oirc->koic", torch.tensor(way.filter), conv.weight.detach())
        self.weight = _constant(filters.flatten(0, 1)[:, :, None].contiguous())
        bias = torch.zeros(self.count, conv.out_channels)
        if conv.bias is not None:
            # The second product goes into every row out with the factor 1.
            bias[1] = conv.bias.detach()
        self.bias = _constant(bias.flatten())

    def forward(self, x: Tensor) -> Tensor:
        sums = [F.conv2d(x, row, stride=(self.step, 1), padding=(1, 0), groups=len(row)) for row in self.sums]
        filtered = F.conv2d(torch.cat(sums, dim=1), self.weight, self.bias, padding=(0, 1), groups=self.count)
        rows = _rows_out(filtered.chunk(self.count, dim=1))
        # The rows of a block now lie beside each other. With the channels last, as runtimes keep
        # them, putting them below each other moves nothing.
        beside = torch.cat(rows, dim=3).permute(0, 2, 3, 1)
        below = beside.reshape(x.shape[0], -1, x.shape[3], len(self.bias) // self.count)
        return below.permute(0, 3, 1, 2)


#: Six rows of a picture of twice the height, from the four rows of the picture that they lie between.
_DOUBLED = (
    (3 / 4, 1 / 4, 0, 0),
    (1 / 4, 3 / 4, 0, 0),
    (0, 3 / 4, 1 / 4, 0),
    (0, 1 / 4, 3 / 4, 0),
    (0, 0, 3 / 4, 1 / 4),
    (0, 0, 1 / 4, 3 / 4),
)


class _DoublingEnd(nn.Module):
    """The end of the decoder: the size doubled, a 3 x 3 convolution, ReLU, and a 1 x 1 convolution.

    The sums of rows that `FOUR` filters are made straight from the rows before they are doubled:
    doubling, like the sums, is no more than weights. So the large picture never exists.
    """

    def __init__(self, conv: nn.Conv2d, last: nn.Conv2d) -> None:
        super().__init__()
        sums = torch.tensor(FOUR.sums, dtype=torch.float32) @ torch.tensor(_DOUBLED)
        self.sums = nn.ParameterList(_constant(_sum_filter(row, conv.in_channels)) for row in sums.tolist())
        filters = torch.einsum("kr,oirc->koic", torch.tensor(FOUR.filter), conv.weight.detach())
        # Apart, as groups of so few channels take longer than convolutions of their own.
        self.filters = nn.ParameterList(_constant(taps[:, :, None].contiguous()) for taps in filters)
        self.bias, self.last = conv.bias, last

    def forward(self, x: Tensor) -> Tensor:
        framed = F.pad(x, (0, 0, 1, 1), mode="replicate")
        wide = F.interpolate(framed, scale_factor=(1, 2), mode="bilinear", align_corners=False)
        sums = [F.conv2d(wide, row, stride=(2, 1), groups=len(row)) for row in self.sums]
        # Doubling goes on beyond the border as if the last row were repeated, the convolution as if
        # there were zeros. Of the sums only these two hold a row beyond it, by factors of 4 and 1.
        sums[0] = torch.cat((sums[0][:, :, :1] - 4 * wide[:, :, :1], sums[0][:, :, 1:]), dim=2)
        sums[5] = torch.cat((sums[5][:, :, :-1], sums[5][:, :, -1:] - wide[:, :, -1:]), dim=2)
        # The second product goes into every row out with the factor 1.
        products = [
            F.conv2d(rows, taps, self.bias if number == 1 else None, padding=(0, 1))
            for number, (rows, taps) in enumerate(zip(sums, self.filters, strict=True))
        ]
        beside = torch.cat([self.last(F.relu(row)) for row in _rows_out(products)], dim=3)
        # With a single channel, rows that lie beside each other lie below each other just as well.
        return beside.reshape(x.shape[0], 1, 2 * x.shape[2], 2 * x.shape[3])


def _rows_out(products: Sequence[Tensor]) -> list[Tensor]:
    """Multiply with the matrix `out`, ((1, 1, 1, 0), (0, 1, -1, -1)) for two rows, and for four:

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
