"""A photo as layers, each continued under those above it. Laid over one another, they give the photo back.

Each layer shows the photo wherever the layers above it do not cover it wholly. So on a soft edge, both
layers have the photo's own colour, and mixing them changes nothing. Where it is covered, a layer is
continued by colours of its own, of which a small picture is enough: its pixels are here called cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.cells import cell_extremes, cell_means, cell_size, to_mask, widen
from worker.pipeline.scene.division import Division, Part
from worker.pipeline.scene.fill import fill

#: How many pixels wide a layer's edge is.
_SOFT = 1.5

#: Where a layer is thinner than this many pixels, between one far below it and one far above it, it is only
#: the ramp between those.
_THIN = 3

#: How far beyond its own pixels a layer may be visible.
_FRINGE = 2

_STRIP_ROWS = 64

#: The level at which a layer's continuation ends, and how many levels lie between two cells.
_REACHED, _LEVELS = 128, 32

_OPAQUE = 255


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of a photo, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    def strips(self) -> Iterator[tuple[slice, Window]]:
        """Yield parts of a few rows, from the top, each with its rows within this window."""
        for top in range(self.top, self.bottom, _STRIP_ROWS):
            bottom = min(top + _STRIP_ROWS, self.bottom)
            yield (
                slice(top - self.top, bottom - self.top),
                Window(top=top, left=self.left, bottom=bottom, right=self.right),
            )


class Layer:
    """A layer within its box. It is valid until the next one is made."""

    def __init__(
        self, *, part: Part, box: Window, alpha: Pixels, photo: Pixels, covered: Pixels, below: Below | None
    ) -> None:
        """`alpha`, `photo` and `covered`, how much the layers above cover, are those of the box."""
        self.part = part
        self.box = box
        self._alpha = alpha
        self._photo = photo
        self._covered = covered
        self._below = below

    def strips(self) -> Iterator[tuple[Pixels, Pixels]]:
        """Yield strips of rows from the top: RGB, h x w x 3, black where alpha is 0, and alpha, h x w."""
        for rows, strip in self.box.strips():
            alpha = np.ascontiguousarray(self._alpha[rows])
            rgb = np.zeros((*alpha.shape, 3), np.uint8)
            cv2.copyTo(self._photo[rows], alpha, rgb)
            if self._below:
                hidden = np.asarray(cv2.bitwise_and(alpha, to_mask(self._covered[rows] == _OPAQUE)), np.uint8)
                _show(self._below, strip, hidden, rgb)
            yield rgb, alpha


@dataclass(frozen=True, kw_only=True)
class Below:
    """The colours of a layer where others cover it."""

    #: uint8, RGB, of the cells of `window`.
    cells: Pixels
    cell: int
    window: Window

    def pixels(self, part: Window) -> Pixels:
        top, left = part.top - self.window.top, part.left - self.window.left
        height, width = part.shape
        return widen(self.cells, self.cell, slice(top, top + height), slice(left, left + width))


def _show(below: Below, strip: Window, hidden: Pixels, rgb: Pixels) -> None:
    """Write the colours of a layer into the pixels of a strip that others cover."""
    left, top, width, height = cv2.boundingRect(hidden)
    if width:
        part = Window(
            top=strip.top + top,
            left=strip.left + left,
            bottom=strip.top + top + height,
            right=strip.left + left + width,
        )
        inner = slice(top, top + height), slice(left, left + width)
        cv2.copyTo(below.pixels(part), hidden[inner], rgb[inner])


class LayerStack:
    """Makes the layers of a photo."""

    def __init__(self, photo: Pixels, division: Division, bleed: int) -> None:
        """Take a photo, RGB, H x W x 3, its division, and by how many pixels layers are continued."""
        self._photo = photo
        self._division = division
        self._bleed = bleed
        self._cell = cell_size(*division.index.shape)
        self._low, self._high = cell_extremes(division.index, self._cell)
        self._means = cell_means(photo, self._cell)
        #: How much of each pixel the layers made so far cover.
        self._covered: Pixels = np.zeros(division.index.shape, np.uint8)
        self._any_covered = False
        self._buffer: Pixels = np.empty(division.index.size, np.uint8)

    def from_top(self) -> Iterator[Layer]:
        """Yield the layers from the nearest to the farthest, each valid until the next; none is empty."""
        for number in reversed(range(len(self._division.parts))):
            window = self._window(number)
            if window is None:
                continue
            alpha = self._alpha(number, window)
            left, top, width, height = cv2.boundingRect(alpha)
            if width:
                yield self._layer(number, window, alpha, (top, left, height, width))
                covered = self._covered[window.slices]
                np.maximum(covered, alpha, out=covered)
                self._any_covered = True

    def _layer(self, number: int, window: Window, alpha: Pixels, box: tuple[int, int, int, int]) -> Layer:
        top, left, height, width = box
        inner = slice(top, top + height), slice(left, left + width)
        within = Window(
            top=window.top + top,
            left=window.left + left,
            bottom=window.top + top + height,
            right=window.left + left + width,
        )
        return Layer(
            part=self._division.parts[number],
            box=within,
            alpha=alpha[inner],
            photo=self._photo[within.slices],
            covered=self._covered[within.slices],
            below=self._below(number, window) if self._bleed and self._any_covered else None,
        )

    def _window(self, number: int) -> Window | None:
        """Return where a layer may be visible or continued, from the edge of a cell on; None if nowhere."""
        height, width = self._division.index.shape
        if number == 0:
            return Window(top=0, left=0, bottom=height, right=width)
        own = to_mask(self._division.index == number)
        left, top, across, down = cv2.boundingRect(own)
        if not across:
            return None
        reach = self._bleed + _FRINGE
        rows, columns = self._low.shape
        return Window(
            top=min(max(top - reach, 0) // self._cell, rows - 1) * self._cell,
            left=min(max(left - reach, 0) // self._cell, columns - 1) * self._cell,
            bottom=min(top + down + reach, height),
            right=min(left + across + reach, width),
        )

    def _alpha(self, number: int, window: Window) -> Pixels:
        """Return how opaque a layer is: as its edges say where it is seen, and 255 where it is continued.

        It is valid until the next one.
        """
        height, width = window.shape
        alpha = self._buffer[: height * width].reshape(height, width)
        levels = self._levels(number, window)
        for rows, strip in window.strips():
            alpha[rows] = self._seen(number, strip)
            covered = to_mask(self._covered[strip.slices] == _OPAQUE)
            if levels is None:
                alpha[rows][covered > 0] = 0
            elif cv2.countNonZero(covered):
                wide = widen(levels, self._cell, rows, slice(0, width))
                cv2.copyTo(to_mask(wide >= _REACHED), covered, alpha[rows])
        return alpha

    def _seen(self, number: int, strip: Window) -> Pixels:
        """Return how much of each pixel a layer or one above it takes, near the layer's own pixels."""
        if number == 0:
            # Below it is nothing that could show.
            return np.full(strip.shape, _OPAQUE, np.uint8)
        is_thing = self._division.parts[number].label is not None
        reach = _FRINGE if is_thing else _FRINGE + _THIN // 2
        above = min(strip.top, reach + _THIN // 2)
        around = Window(
            top=strip.top - above,
            left=strip.left,
            bottom=strip.bottom + reach + _THIN // 2,
            right=strip.right,
        )
        index = self._division.index[around.slices]
        own = to_mask(index == number)
        if not own.any():
            return np.zeros(strip.shape, np.uint8)
        if not is_thing:
            own = np.asarray(cv2.erode(own, _square(_THIN)), np.uint8)
        near = cv2.dilate(own, _square(2 * reach + 1))
        seen = cv2.bitwise_and(self._soften(number, around, index), near)
        return np.asarray(seen[above : above + strip.shape[0]], np.uint8)

    def _soften(self, number: int, window: Window, index: Pixels) -> Pixels:
        """Return how much of each pixel belongs to a layer or one above it."""
        hard = to_mask(index >= number)
        soft = np.asarray(cv2.GaussianBlur(hard, (3, 3), 0, borderType=cv2.BORDER_REPLICATE), np.uint8)
        nearness = self._division.nearness
        if nearness is None:
            return soft
        # 0 becomes 255 here, so that both ends are left out.
        border = np.flatnonzero(soft - np.uint8(1) < _OPAQUE - 1)
        cut = np.float32(self._division.cuts[number - 1])
        rows, columns = np.divmod(border, hard.shape[1])
        hard[rows, columns] = _share_above(nearness[window.slices], rows, columns, cut)
        return hard

    def _levels(self, number: int, window: Window) -> Pixels | None:
        """Return the levels of a window's cells: `_REACHED` where a layer's continuation ends, more within.

        None if it is not continued.
        """
        touched, _ = self._cells_of(number, window)
        if not (self._bleed and self._any_covered and touched.any()):
            return None
        others = np.logical_not(touched).view(np.uint8)
        distance = np.asarray(cv2.distanceTransform(others, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)
        # Half of a cell on the border is the layer's own, as a rule.
        distance -= np.float32(self._bleed / self._cell)
        return np.asarray(np.clip(_REACHED - _LEVELS * distance, 0, 255), np.uint8)

    def _below(self, number: int, window: Window) -> Below:
        touched, own = self._cells_of(number, window)
        if self._cell == 1:
            # Beside an edge, a pixel may have some of the colour beyond it.
            inner = cv2.erode(own.astype(np.uint8), _square(_THIN)) > 0
            own = inner if inner.any() else own
        known = own if own.any() else touched
        means = self._means[self._cells(window)].astype(np.float32)
        colours = fill(means, known)
        return Below(cells=np.rint(colours).astype(np.uint8), cell=self._cell, window=window)

    def _cells_of(self, number: int, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the cells of a window with pixels of a layer, and those with no others."""
        low, high = (extreme[self._cells(window)] == number for extreme in (self._low, self._high))
        return low | high, low & high

    def _cells(self, window: Window) -> tuple[slice, slice]:
        cell = self._cell
        return (
            slice(window.top // cell, -(-window.bottom // cell)),
            slice(window.left // cell, -(-window.right // cell)),
        )


def _square(side: int) -> Pixels:
    return np.ones((side, side), np.uint8)


def _share_above(
    nearness: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp], cut: np.float32
) -> Pixels:
    """Return how much of some pixels is nearer than a cut, 0 to 255, by their distance to it on the slope."""
    height, width = nearness.shape
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, width - 1)
    down = nearness[below, columns] - nearness[above, columns]
    across = nearness[rows, right] - nearness[rows, left]
    slope = np.maximum(np.hypot(down, across) / 2, np.float32(1e-9))
    share = (nearness[rows, columns] - cut) / (np.float32(_SOFT) * slope) + np.float32(0.5)
    return np.asarray(np.rint(255 * np.clip(share, 0, 1)), np.uint8)
