"""A photo as layers, each continued under those above it. Laid over one another, they give the photo back.

Each layer shows the photo wherever the layers above it do not cover it wholly. On a soft edge, the photo's
colour is parted into those of both sides, which give it back when they are mixed. Where it is covered, a
layer is continued by colours of its own, of which a small picture is enough: its pixels are here called
cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.enlarge import enlarge
from worker.pipeline.scene.fill import fill
from worker.pipeline.scene.layers.boxes import find_boxes
from worker.pipeline.scene.layers.cells import cell_extremes, cell_means, cell_size, to_mask
from worker.pipeline.scene.layers.division import Division, Part
from worker.pipeline.scene.layers.unmix import SoftEdge, unmix

#: How many pixels wide a layer's edge is.
_SOFT = 1.5

#: Where a layer is thinner than this many pixels, between one far below it and one far above it, it is only
#: the ramp between those.
_THIN = 3

#: How far beyond its own pixels a layer may be visible.
_FRINGE = 2

#: How many rows around a strip tell what is seen in it: those of a fringe, and to tell what is thin.
_AROUND = _FRINGE + _THIN

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

    def part(self, top: int, left: int, height: int, width: int) -> Window:
        """Return a rectangle within this one, from where that lies in it."""
        top, left = self.top + top, self.left + left
        return Window(top=top, left=left, bottom=top + height, right=left + width)

    def strips(self) -> Iterator[tuple[slice, Window]]:
        """Yield parts of a few rows, from the top, each with its rows within this window."""
        for top in range(self.top, self.bottom, _STRIP_ROWS):
            bottom = min(top + _STRIP_ROWS, self.bottom)
            yield (
                slice(top - self.top, bottom - self.top),
                Window(top=top, left=self.left, bottom=bottom, right=self.right),
            )


@dataclass(frozen=True, kw_only=True)
class OwnCells:
    """The cells of a window that have pixels of a layer itself, and those that have no others."""

    some: NDArray[np.bool_]
    whole: NDArray[np.bool_]

    @classmethod
    def none(cls, height: int, width: int) -> OwnCells:
        return cls(some=np.zeros((height, width), np.bool_), whole=np.zeros((height, width), np.bool_))

    def set_rows(self, top: int, mask: Pixels, cell: int) -> None:
        """Set rows of cells from the row `top` on, by a mask of their pixels, 0 or 255."""
        if len(mask) < cell:
            # Less than a cell is left at the photo's border.
            return
        low, high = cell_extremes(mask, cell)
        rows = slice(top, top + len(low))
        self.some[rows], self.whole[rows] = high > 0, low > 0


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
        return enlarge(self.cells, self.cell, slice(top, top + height), slice(left, left + width))


def _show(below: Below, strip: Window, hidden: Pixels, rgb: Pixels) -> None:
    """Write the colours of a layer into the pixels of a strip that others cover."""
    left, top, width, height = cv2.boundingRect(hidden)
    if width:
        inner = slice(top, top + height), slice(left, left + width)
        cv2.copyTo(below.pixels(strip.part(top, left, height, width)), hidden[inner], rgb[inner])


class LayerStack:
    """Makes the layers of a photo."""

    def __init__(self, photo: Pixels, division: Division, bleed: int) -> None:
        """Take a photo, RGB, H x W x 3, its division, and by how many pixels layers are continued.

        While layers are made, the photo's soft edges change; after the last one they are as before.
        """
        # Some decoders give pixels that cannot be written to.
        self._photo = photo if photo.flags.writeable else photo.copy()
        self._division = division
        self._boxes = find_boxes(division.index)
        self._bleed = bleed
        self._cell = cell_size(*division.index.shape)
        self._means = cell_means(photo, self._cell)
        #: How much of each pixel the layers made so far cover.
        self._covered: Pixels = np.zeros(division.index.shape, np.uint8)
        self._any_covered = False
        self._buffer: Pixels = np.empty(division.index.size, np.uint8)

    def from_top(self) -> Iterator[Layer]:
        """Yield the layers from the nearest to the farthest, each valid until the next; none is empty."""
        changed: list[tuple[SoftEdge, Pixels, Pixels]] = []
        try:
            yield from self._make(changed)
        finally:
            for edge, photo, before in reversed(changed):
                photo[edge.rows, edge.columns] = before

    def _make(self, changed: list[tuple[SoftEdge, Pixels, Pixels]]) -> Iterator[Layer]:
        """Yield the layers, and note which pixels of the photo are changed, and what they were."""
        for number in reversed(range(len(self._division.parts))):
            window = self._window(number)
            if window is None:
                continue
            alpha, own = self._seen(number, window)
            self._continue(alpha, own, window)
            left, top, width, height = cv2.boundingRect(alpha)
            if width:
                edge = self._soft_edge(alpha, window)
                photo = self._photo[window.slices]
                changed.append((edge, photo, photo[edge.rows, edge.columns]))
                photo[edge.rows, edge.columns] = edge.near
                yield self._layer(number, window, alpha, own, window.part(top, left, height, width))
                photo[edge.rows, edge.columns] = edge.far
                covered = self._covered[window.slices]
                np.maximum(covered, alpha, out=covered)
                self._any_covered = True

    def _soft_edge(self, alpha: Pixels, window: Window) -> SoftEdge:
        """Part the colours where a layer is soft and no other lies above it."""
        found = [np.empty((2, 0), np.intp)]
        for rows, strip in window.strips():
            # 0 becomes 255 here, so that both ends are left out.
            soft = np.flatnonzero(alpha[rows] - np.uint8(1) < _OPAQUE - 1)
            if soft.size:
                down, across = np.divmod(soft, window.shape[1])
                is_top = self._covered[strip.slices][down, across] == 0
                found.append(np.stack([down[is_top] + rows.start, across[is_top]]))
        return unmix(self._photo[window.slices], alpha, *np.concatenate(found, axis=1))

    def _layer(self, number: int, window: Window, alpha: Pixels, own: OwnCells, box: Window) -> Layer:
        inside = Window(
            top=box.top - window.top,
            left=box.left - window.left,
            bottom=box.bottom - window.top,
            right=box.right - window.left,
        )
        return Layer(
            part=self._division.parts[number],
            box=box,
            alpha=alpha[inside.slices],
            photo=self._photo[box.slices],
            covered=self._covered[box.slices],
            below=self._below(own, window) if self._is_continued(own) else None,
        )

    def _window(self, number: int) -> Window | None:
        """Return where a layer may be visible or continued, in whole cells; None if nowhere."""
        height, width = self._division.index.shape
        if number == 0:
            return Window(top=0, left=0, bottom=height, right=width)
        boxes = self._boxes
        if not boxes.area[number]:
            return None
        reach, cell = self._bleed + _FRINGE, self._cell
        rows, columns = self._means.shape[:2]
        return Window(
            top=min(max(int(boxes.top[number]) - reach, 0) // cell, rows - 1) * cell,
            left=min(max(int(boxes.left[number]) - reach, 0) // cell, columns - 1) * cell,
            bottom=min(-(-(int(boxes.bottom[number]) + reach) // cell) * cell, height),
            right=min(-(-(int(boxes.right[number]) + reach) // cell) * cell, width),
        )

    def _seen(self, number: int, window: Window) -> tuple[Pixels, OwnCells]:
        """Return how opaque a layer is where it is seen, valid until the next one, and its own cells."""
        height, width = window.shape
        alpha = self._buffer[: height * width].reshape(height, width)
        own = OwnCells.none(height // self._cell, width // self._cell)
        for rows, strip in window.strips():
            mask, alpha[rows] = self._see_strip(number, strip)
            if self._any_covered:
                own.set_rows(rows.start // self._cell, mask, self._cell)
        return alpha, own

    def _see_strip(self, number: int, strip: Window) -> tuple[Pixels, Pixels]:
        """Return a layer's own pixels, 0 or 255, and how much it or one above it takes of those nearby."""
        above = min(strip.top, _AROUND)
        around = Window(
            top=strip.top - above, left=strip.left, bottom=strip.bottom + _AROUND, right=strip.right
        )
        within = slice(above, above + strip.shape[0])
        index = self._division.index[around.slices]
        own = to_mask(index == number)
        if own.all():
            return own[within], own[within]
        if self._division.parts[number].label is None:
            own = np.asarray(cv2.morphologyEx(own, cv2.MORPH_OPEN, _square(_THIN)), np.uint8)
        if number == 0:
            # Below it is nothing that could show.
            return own[within], np.full(strip.shape, _OPAQUE, np.uint8)
        if not own.any():
            return own[within], own[within]
        near = cv2.dilate(own, _square(2 * _FRINGE + 1))
        seen = np.asarray(cv2.bitwise_and(self._soften(number, around, index), near), np.uint8)
        return own[within], seen[within]

    def _soften(self, number: int, window: Window, index: Pixels) -> Pixels:
        """Return how much of each pixel belongs to a layer or one above it."""
        hard = to_mask(index >= number)
        nearness = self._division.nearness
        if nearness is None:
            soft = cv2.GaussianBlur(hard, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
            return np.asarray(soft, np.uint8)
        # Pixels with others beside them: 0 becomes 255 here, so that both ends are left out.
        mixed = np.asarray(cv2.blur(hard, (3, 3), borderType=cv2.BORDER_REPLICATE), np.uint8)
        border = np.flatnonzero(mixed - np.uint8(1) < _OPAQUE - 1)
        cut = np.float32(self._division.cuts[number - 1])
        rows, columns = np.divmod(border, hard.shape[1])
        hard[rows, columns] = _share_above(nearness[window.slices], rows, columns, cut)
        return hard

    def _continue(self, alpha: Pixels, own: OwnCells, window: Window) -> None:
        """Make a layer opaque as far as it is continued where others cover it, and transparent beyond."""
        levels = self._levels(own) if self._is_continued(own) else None
        for rows, strip in window.strips() if self._any_covered else ():
            covered = to_mask(self._covered[strip.slices] == _OPAQUE)
            if levels is None:
                alpha[rows][covered > 0] = 0
            elif cv2.countNonZero(covered):
                wide = enlarge(levels, self._cell, rows, slice(0, window.shape[1]))
                cv2.copyTo(to_mask(wide >= _REACHED), covered, alpha[rows])

    def _is_continued(self, own: OwnCells) -> bool:
        return self._bleed > 0 and self._any_covered and bool(own.some.any())

    def _levels(self, own: OwnCells) -> Pixels:
        """Return the levels of a window's cells: `_REACHED` where its continuation ends, more within."""
        others = np.logical_not(own.some).view(np.uint8)
        distance = np.asarray(cv2.distanceTransform(others, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)
        # Half of a cell on the border is the layer's own, as a rule.
        distance -= np.float32(self._bleed / self._cell)
        return np.asarray(np.clip(_REACHED - _LEVELS * distance, 0, 255), np.uint8)

    def _below(self, own: OwnCells, window: Window) -> Below:
        known = own.whole
        if self._cell == 1:
            # Beside an edge, a pixel may have some of the colour beyond it.
            inner = cv2.erode(known.view(np.uint8), _square(_THIN)) > 0
            known = inner if inner.any() else known
        top, left = window.top // self._cell, window.left // self._cell
        means = self._means[top : top + known.shape[0], left : left + known.shape[1]]
        colours = fill(means.astype(np.float32), known if known.any() else own.some)
        return Below(cells=np.rint(colours).astype(np.uint8), cell=self._cell, window=window)


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
