"""Depth edges that follow the photo: where the map steps, each pixel takes the near or the far side.

A prediction has 256 pixels, here called cells, so a depth edge is a ramp a few cells wide that ends in
neither surface. Where the map steps, this finds both plateaus and asks the photo, at 2 or 3 pixels a
cell, to which of them each pixel belongs: by a linear discriminant between the colours of the cells that
are surely near and those that are surely far. The map is then `far + rise * side`. Where nothing
steps, `rise` is 0 and `far` is the prediction itself, bit for bit.

All numbers were chosen on renders with known depth. Lengths are in cells; they fit a prediction of 384 pixels
too, because the network blurs pixels of its own, whatever they show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels

#: From the middle of a ramp to its plateaus.
_REACH = 3

#: Rises within `_REACH`, as shares of the map's range, that are no step at all and that wholly are one.
_RISE = 0.05, 0.1

#: A step rises as much within `_REACH` as within twice that, a slope half as much. Shares that are no
#: step at all, and that wholly are one.
_STEEPNESS = 0.45, 0.7

#: Less of a step than this is none.
_LEAST = 0.01

#: Where between both extremes nearby, 0 to 1, a cell begins to count as surely one of them, and wholly does.
_SURE = 0.55, 0.9

#: Variance of colours, of 0 to 1, below which they tell nothing.
_NOISE = 1e-3

#: Cells of one side, as a share of the window, below which nothing is known of its colour.
_FEW = 1e-4

#: How much the map itself says about a pixel's side where colours tell nothing.
_OWN = 0.5

#: How steeply a pixel's side follows from the discriminant.
_GAIN = 8.0

#: Rows of a picture that are halved at a time.
_STRIP_ROWS = 64

#: Cells of a block, along each side, whose pixels are decided together. It divides every network size.
_BLOCK = 4

_SMALLEST = np.float32(1e-6)


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What is kept of a photo to tell the sides of its edges."""

    #: Red, green and blue, uint8, 3 x H x W: `fold` times the prediction's height and width.
    planes: Pixels
    #: Pixels for each cell, along each side.
    fold: int
    #: How steeply a pixel's side follows from its colour.
    gain: float


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A map whose steps are kept apart: `far + rise * side / 255`."""

    #: float32, h x w: the prediction; on steps its far plateau.
    far: Floats
    #: float32, h x w: how much nearer the near plateau is; 0 where the map does not step.
    rise: Floats
    #: uint8, `fold` times h x w: 0 is far, 255 is near.
    side: Pixels


def make_guide(rgb: Pixels, height: int, width: int, cells: tuple[int, int]) -> Guide | None:
    """Return the guide for a photo of height x width, decoded to H x W x 3, and a prediction of `cells`.

    None for a photo with no more pixels than the prediction: it has nothing finer to tell.
    """
    if height <= cells[0] or width <= cells[1]:
        return None
    long_side = max(cells)
    fold = 2 if max(height, width) < 3 * long_side else 3
    # What is widened further is steepened again: together they are about as steep at every size.
    widened = max(1.0, max(height, width) / (long_side * fold))
    small = shrink(rgb, fold * cells[0], fold * cells[1])
    return Guide(planes=_split(small), fold=fold, gain=max(_GAIN / 2, _GAIN / widened))


def find_steps(prediction: Floats, guide: Guide) -> Steps | None:
    """Return a finite prediction, h x w, with its steps apart, or None if it has no step."""
    low, span = _range(prediction)
    if span <= 1e-6 * max(abs(low), abs(low + span)):
        return None
    # Over its own range, so that the result does not depend on the prediction's scale and shift.
    values = (prediction - np.float32(low)) / np.float32(span)
    share = _share_of_step(values)
    if not share.any():
        return None
    cells = _cells(guide)
    model = _fit(values, values, cells)
    model = _fit(_sharpen(values, share, model, cells), values, cells)
    far, near = _double(model.plateaus)
    return Steps(
        far=prediction + np.float32(span) * (share * (far - values)),
        rise=np.float32(span) * (share * (near - far)),
        side=_choose(model, guide, share > 0),
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Tells a pixel's side by its colour: near where `weights . colour + bias` is above 0.

    Its planes are half the size of the prediction: they change slowly.
    """

    #: 4 x h/2 x w/2: weights for R, G and B of 0 to 1, and the bias.
    planes: Floats
    #: The far plateau and the near one, 2 x h/2 x w/2.
    plateaus: Floats


def shrink(picture: Pixels, height: int, width: int) -> Pixels:
    """Return a picture at another size: halved, which averages and is fast, then bilinear."""
    times = 0
    while picture.shape[0] >> times >= 2 * height and picture.shape[1] >> times >= 2 * width:
        times += 1
    small = _halve(picture, times) if times else picture
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _halve(picture: Pixels, times: int) -> Pixels:
    """Return a picture halved some times, a strip at a time: half of 200 megapixels would be 150 MB."""
    height, width = picture.shape[0] >> times, picture.shape[1] >> times
    halved = np.empty((height, width, *picture.shape[2:]), np.uint8)
    rows = max(1, _STRIP_ROWS >> times)
    for top in range(0, height, rows):
        strip = picture[top << times : min(top + rows, height) << times, : width << times]
        for _ in range(times):
            size = strip.shape[1] // 2, strip.shape[0] // 2
            strip = np.asarray(cv2.resize(strip, size, interpolation=cv2.INTER_AREA), np.uint8)
        halved[top : top + rows] = strip
    return halved


def _split(rgb: Pixels) -> Pixels:
    """Return the planes of a picture, 3 x H x W."""
    planes = np.empty((3, *rgb.shape[:2]), np.uint8)
    for channel, plane in enumerate(planes):
        cv2.extractChannel(rgb, channel, dst=plane)
    return planes


def _cells(guide: Guide) -> Floats:
    """Return the mean colour of each cell, 3 x h x w, 0 to 1."""
    height, width = guide.planes.shape[1] // guide.fold, guide.planes.shape[2] // guide.fold
    cells = np.empty((3, height, width), np.float32)
    for plane, cell in zip(guide.planes, cells, strict=True):
        np.multiply(shrink(plane, height, width), np.float32(1 / 255), out=cell)
    return cells


def _range(prediction: Floats) -> tuple[float, float]:
    """Return the lower end and the width of a map's range, without its outermost fiftieths.

    All of it where those leave nothing: a small thing before a flat wall.
    """
    sample = prediction.ravel()[::7].copy()
    first, last = int(0.02 * sample.size), int(0.98 * sample.size)
    sample.partition((first, last))
    low, high = float(sample[first]), float(sample[last])
    if low == high:
        low, high = float(prediction.min()), float(prediction.max())
    return low, high - low


def _share_of_step(values: Floats) -> Floats:
    """Return how much each cell is on a step, 0 to 1."""
    # Slopes go on beyond the border: cut off there, each would look like a step.
    border = 2 * _REACH
    near, far = _extremes(_extend(values, border))
    # The wider window's extremes are those of the narrower one's.
    wider = _largest(near) - _smallest(far)
    rise = near - far
    share = _ramp(rise, *_RISE) * _ramp(rise / np.maximum(wider, _SMALLEST), *_STEEPNESS)
    share[share < _LEAST] = 0
    return np.ascontiguousarray(share[border:-border, border:-border])


def _extend(values: Floats, by: int) -> Floats:
    """Return the map with a border into which it continues as it comes: mirrored in the border's value."""
    sides = by, by, by, by
    mirrored = cv2.copyMakeBorder(values, *sides, cv2.BORDER_REFLECT_101)
    return np.asarray(2 * cv2.copyMakeBorder(values, *sides, cv2.BORDER_REPLICATE) - mirrored, np.float32)


def _extremes(values: Floats) -> tuple[Floats, Floats]:
    """Return the largest and the smallest value within `_REACH` of each cell."""
    return _largest(values), _smallest(values)


def _largest(values: Floats) -> Floats:
    return np.asarray(cv2.dilate(values, _disc(), borderType=cv2.BORDER_REPLICATE), np.float32)


def _smallest(values: Floats) -> Floats:
    return np.asarray(cv2.erode(values, _disc(), borderType=cv2.BORDER_REPLICATE), np.float32)


@cache
def _disc() -> Pixels:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1, 2 * _REACH + 1)), np.uint8
    )


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    t = values * np.float32(1 / (high - low))
    t -= np.float32(low / (high - low))
    np.clip(t, 0, 1, out=t)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _fit(values: Floats, own: Floats, cells: Floats) -> _Model:
    """Fit the discriminant around each cell.

    `values` tell which cells are surely near or far, `own` decides where colours tell little; h x w.
    """
    near, far = _extremes(values)
    place = (values - far) / np.maximum(near - far, _SMALLEST)
    is_near, is_far = _ramp(place, *_SURE), _ramp(1 - place, *_SURE)
    statistics = _statistics(values, near, far, is_near, is_far, cells)
    plateaus = _plateaus(statistics)
    planes, told = _discriminate(statistics)
    far, near = plateaus
    small = cv2.resize(own, far.shape[::-1], interpolation=cv2.INTER_AREA)
    mine = np.clip((small - far) / np.maximum(near - far, _SMALLEST), 0, 1)
    mine -= np.float32(0.5)
    planes[3] += np.float32(_OWN) * (1 - told) * mine
    return _Model(planes=planes, plateaus=plateaus)


def _statistics(
    values: Floats, near: Floats, far: Floats, is_near: Floats, is_far: Floats, cells: Floats
) -> Floats:
    """Return 18 means around each square of 2 x 2 cells, 18 x h/2 x w/2: they change slowly."""
    either = is_near + is_far
    ones = np.ones_like(values)
    factors = [(is_near, ones), (is_far, ones), (near, ones), (far, ones)]
    factors += [(is_near, values), (is_far, values)]
    factors += [(side, cell) for side in (is_near, is_far) for cell in cells]
    weighted = cells * either
    factors += [(weighted[one], cells[other]) for one, other in _PAIRS]
    return _means(factors)


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _means(factors: list[tuple[Floats, Floats]]) -> Floats:
    """Return products of two planes, h x w, at half the size, each value the mean of the 6 x 6 around it."""
    height, width = factors[0][0].shape
    means = np.empty((len(factors), height // 2, width // 2), np.float32)
    # One after the other, they stay in the processor's cache.
    product, half = np.empty((height, width), np.float32), np.empty_like(means[0])
    for (one, other), mean in zip(factors, means, strict=True):
        np.multiply(one, other, out=product)
        cv2.resize(product, half.shape[::-1], dst=half, interpolation=cv2.INTER_AREA)
        cv2.blur(half, (3, 3), dst=mean, borderType=cv2.BORDER_REPLICATE)
    return means


def _plateaus(m: Floats) -> Floats:
    """Return the far and the near plateau, the means of the cells that are surely on them."""
    few = np.float32(_FEW)
    return np.stack([(m[5] + few * m[3]) / (m[1] + few), (m[4] + few * m[2]) / (m[0] + few)])


def _discriminate(m: Floats) -> tuple[Floats, Floats]:
    """Return weights and bias, 4 x h/2 x w/2, and how much colours tell, 0 to 1."""
    near_weight, far_weight = m[0] + np.float32(_FEW), m[1] + np.float32(_FEW)
    total = near_weight + far_weight
    share = near_weight / total
    near, far = m[6:9] / near_weight, m[9:12] / far_weight
    gap = near - far
    mean = far + share * gap
    spread = m[12:18] / total
    for plane, (one, other) in zip(spread, _PAIRS, strict=True):
        plane -= mean[one] * mean[other]
        if one == other:
            plane += np.float32(_NOISE)
    planes = np.empty((4, *total.shape), np.float32)
    weights, bias = planes[:3], planes[3]
    np.multiply(_solve(spread, gap), share * (1 - share), out=weights)
    told = np.clip((weights * gap).sum(axis=0), 0, 1)
    # The middle is half way between both mean colours.
    np.multiply((weights * (near + far)).sum(axis=0), np.float32(-0.5), out=bias)
    return planes, told


def _solve(c: Floats, v: Floats) -> Floats:
    """Solve symmetric 3 x 3 systems: their upper triangles, 6 x h x w, and their vectors, 3 x h x w."""
    i00, i01, i02 = c[3] * c[5] - c[4] * c[4], c[2] * c[4] - c[1] * c[5], c[1] * c[4] - c[2] * c[3]
    i11, i12, i22 = c[0] * c[5] - c[2] * c[2], c[1] * c[2] - c[0] * c[4], c[0] * c[3] - c[1] * c[1]
    x, y, z = v
    solved = np.stack([i00 * x + i01 * y + i02 * z, i01 * x + i11 * y + i12 * z, i02 * x + i12 * y + i22 * z])
    # `_NOISE` on the diagonal keeps the determinant above its cube.
    solved /= np.maximum(c[0] * i00 + c[1] * i01 + c[2] * i02, np.float32(0.1 * _NOISE**3))
    return solved


def _double(planes: Floats) -> Floats:
    """Return n planes at twice their height and width, bilinear."""
    count, height, width = planes.shape
    doubled = np.empty((count, 2 * height, 2 * width), np.float32)
    for plane, into in zip(planes, doubled, strict=True):
        cv2.resize(plane, into.shape[::-1], dst=into, interpolation=cv2.INTER_LINEAR)
    return doubled


def _sharpen(values: Floats, share: Floats, model: _Model, cells: Floats) -> Floats:
    """Return the map with the cells on steps moved to the plateau that their colour tells."""
    red, green, blue, bias = _double(model.planes)
    far, near = _double(model.plateaus)
    side = _side(red * cells[0] + green * cells[1] + blue * cells[2] + bias, _GAIN)
    return np.asarray(values + share * (far + side * (near - far) - values), np.float32)


def _side(x: Floats, gain: float) -> Floats:
    """Return the logistic function of 2 * gain * x, in place of x."""
    x *= np.float32(-2 * gain)
    np.minimum(x, 30, out=x)
    np.exp(x, out=x)
    x += np.float32(1)
    return np.divide(np.float32(1), x, out=x)


#: Pixels decided at a time, so that they stay in the processor's cache.
_PIXELS = 2**15


def _choose(model: _Model, guide: Guide, on: NDArray[np.bool_]) -> Pixels:
    """Return each pixel's side where the map steps, uint8, of the guide's size; rid of specks."""
    pixels = _BLOCK * guide.fold
    side = np.zeros(guide.planes.shape[1:], np.uint8)
    # The cubic kernel reaches two cells beyond a step.
    wider = cv2.dilate(on.astype(np.uint8), np.ones((5, 5), np.uint8))
    tall, broad = on.shape[0] // _BLOCK, on.shape[1] // _BLOCK
    rows, columns = np.nonzero(wider.reshape(tall, _BLOCK, broad, _BLOCK).any(axis=(1, 3)))
    colours = guide.planes.reshape(3, tall, pixels, broad, pixels)
    into = side.reshape(tall, pixels, broad, pixels)
    windows = _windows(model.planes)
    count = _PIXELS // pixels**2
    for start in range(0, rows.size, count):
        row, column = rows[start : start + count], columns[start : start + count]
        planes = windows[:, row, column].reshape(4, row.size, -1) @ _widening(guide.fold)
        decided = _decide_blocks(planes, colours[:, row, :, column].reshape(row.size, 3, -1), guide.gain)
        into[row, :, column] = decided.reshape(row.size, pixels, pixels)
    return np.asarray(cv2.medianBlur(side, 3), np.uint8)


def _decide_blocks(planes: Floats, colours: Pixels, gain: float) -> Pixels:
    """Return the sides of n blocks of m pixels, given weights and bias, 4 x n x m, and colours, n x 3 x m.

    The weights and the bias are overwritten.
    """
    x = planes[3]
    for channel in range(3):
        planes[channel] *= colours[:, channel].astype(np.float32)
        x += planes[channel]
    side = _side(x, gain)
    side *= 255
    side += np.float32(0.5)
    return side.astype(np.uint8)


def _windows(planes: Floats) -> Floats:
    """Return what a model's planes have in each block and around it: 4 x blocks down x across x 4 x 4."""
    padded = np.empty((4, planes.shape[1] + 2, planes.shape[2] + 2), np.float32)
    for plane, into in zip(planes, padded, strict=True):
        cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REPLICATE, dst=into)
    # Colours are bytes.
    padded[:3] *= np.float32(1 / 255)
    half = _BLOCK // 2
    return sliding_window_view(padded, (half + 2, half + 2), axis=(1, 2))[:, ::half, ::half]


@cache
def _widening(fold: int) -> Floats:
    """Return the matrix that widens a block of a window, 16 values, bilinearly to its pixels."""
    at = (np.arange(_BLOCK * fold) + 0.5) / (2 * fold) + 0.5
    along = np.maximum(0, 1 - np.abs(at[:, np.newaxis] - np.arange(_BLOCK // 2 + 2)))
    return np.ascontiguousarray(np.kron(along, along).T, np.float32)
