"""Two predictions of one photo merged: where things lie from the smaller, and detail from the larger.

A larger input shows the network more detail, but less of the scene at once, so what it says of the whole is
worse than what it says of a few cells. Miangoleh et al. merge such predictions with a network of their own
(Boosting Monocular Depth Estimation Models to High-Resolution via Content-Adaptive Multi-Resolution Merging,
CVPR 2021); here a Gaussian parts low frequencies from high ones.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Quality
from shared.jobs.job import Range
from shared.networks import MIDAS_SMALL, Preprocessing
from worker.model.preprocess import DETAILED_SIDE, LONG_SIDE
from worker.pipeline.depth import is_flat
from worker.pipeline.photo import Floats

#: Standard deviation of the Gaussian, in cells of the smaller prediction. Chosen among 4 to 48 on renders
#: and photographs with known depth: less orders photographs worse, more distorts surfaces.
_CUT = 10.0

#: The correction is smooth, so it is filtered at a quarter of the size. It divides every network size.
_SHRINK = 4

#: Cells along the longer side to which both are averaged before they are aligned.
_COARSE = 32

#: Rounds of the robust fit; after these it hardly moves.
_ROUNDS = 8

#: Residuals count linearly, and no longer squared, from so many times their median on.
_OUTLYING = 2.0


def inputs_of(preprocessing: Preprocessing, quality: Quality) -> tuple[Preprocessing, ...]:
    """Return how each input of the network is made, the one of the map's grid last.

    Only MiDaS_small has a larger one. The others see as much at once, and the larger the input, the dearer.
    """
    if quality is not Quality.DETAILED or preprocessing != MIDAS_SMALL.preprocessing:
        return (preprocessing,)
    return preprocessing, replace(preprocessing, side=DETAILED_SIDE, longest=DETAILED_SIDE)


def merge(base: Floats, detailed: Floats) -> Floats:
    """Return low frequencies of `base`, h x w, and high ones of `detailed`, H x W: a map of H x W.

    Scale and shift of `detailed` do not matter. Where either is not finite, neither is the map.
    """
    finite = np.isfinite(base), np.isfinite(detailed)
    if all(each.all() for each in finite):
        return _merge(base, detailed)
    merged = _merge(_replace_unknown(base, finite[0]), _replace_unknown(detailed, finite[1]))
    wide = _resize(finite[0].astype(np.float32), detailed.shape, cv2.INTER_NEAREST)
    merged[(wide == 0) | ~finite[1]] = np.nan
    return merged


def _replace_unknown(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return a map with 0 where it is not known."""
    return np.where(known, values, np.float32(0))


def _merge(base: Floats, detailed: Floats) -> Floats:
    wide = _resize(base, detailed.shape, cv2.INTER_CUBIC)
    if _is_constant(base) or _is_constant(detailed):
        return wide
    scale, shift = _align(detailed, base)
    if scale == 0:
        # They have nothing in common, and the base is the one to believe.
        return wide
    merged = detailed * np.float32(scale)
    merged += np.float32(shift)
    # A difference has the low frequencies of both, so one filter does: those of `wide` take their place.
    merged += _low_pass(wide - merged)
    return merged


def _is_constant(values: Floats) -> bool:
    low, high = cv2.minMaxLoc(values)[:2]
    return is_flat(Range(low=low, high=high))


def _align(detailed: Floats, base: Floats) -> tuple[float, float]:
    """Return the scale, never below 0, and the shift that bring one map nearest to another.

    By least squares, with the weights of Huber (Robust Estimation of a Location Parameter, 1964): where both
    disagree, one of them sees something that the other does not. Weights that fall faster would take a small
    foreground for such a thing, and align the noise of its background.
    """
    factor = _COARSE / max(base.shape)
    size = tuple(max(1, round(factor * side)) for side in base.shape)
    x, y = (_resize(each, size, cv2.INTER_AREA).astype(np.float64) for each in (detailed, base))
    scale, shift = _fit_line(x, y, np.ones_like(x))
    for _ in range(_ROUNDS):
        residuals = np.abs(y - scale * x - shift)
        bound = _OUTLYING * float(np.median(residuals))
        if bound == 0:
            break
        scale, shift = _fit_line(x, y, bound / np.maximum(residuals, bound))
    return scale, shift


def _fit_line(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the scale, never below 0, and the shift of the line through weighted points."""
    x_mean, y_mean = np.average(x, weights=weights), np.average(y, weights=weights)
    x_off, y_off = x - x_mean, y - y_mean
    spread = float((weights * x_off * x_off).sum())
    scale = max(0.0, float((weights * x_off * y_off).sum()) / spread) if spread > 0 else 0.0
    return scale, float(y_mean - scale * x_mean)


def _low_pass(values: Floats) -> Floats:
    """Return what a Gaussian leaves of a map."""
    height, width = values.shape
    small = _resize(values, (height // _SHRINK, width // _SHRINK), cv2.INTER_AREA)
    sigma = _CUT * max(small.shape) / LONG_SIDE
    smooth = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return _resize(np.asarray(smooth, np.float32), (height, width), cv2.INTER_CUBIC)


def _resize(values: Floats, size: tuple[int, ...], interpolation: int) -> Floats:
    """Return a map at another height and width."""
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=interpolation), np.float32)
