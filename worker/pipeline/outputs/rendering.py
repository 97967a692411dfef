"""What the outputs of one photo are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Normalize, Options
from shared.jobs.job import Range
from worker.model.preprocess import LONG_SIDE
from worker.pipeline.colour import colour_table, colourise
from worker.pipeline.decode.png_rows import Samples
from worker.pipeline.depth import DepthMap, is_flat, resize, to_bytes
from worker.pipeline.interruption import never
from worker.pipeline.photo import Floats, Photo, Pixels
from worker.pipeline.scene.layers.labelled import Labelled, find_things
from worker.pipeline.scratch import Scratch
from worker.pipeline.stages import Stage, Stopwatch

if TYPE_CHECKING:
    from worker.model.engine import EngineInfo

T = TypeVar("T", np.float32, np.uint8)


class Rendering:
    """Makes the results of one photo; what several of them need is made once.

    Its arrays live in the scratch buffers, so finish it before the next photo.
    """

    def __init__(
        self,
        *,
        source: bytes,
        labels: Samples | None = None,
        photo: Photo,
        depth: DepthMap,
        span: Range,
        options: Options,
        info: EngineInfo,
        embedded_format: str | None,
        scratch: Scratch,
        stopwatch: Stopwatch,
        is_unwanted: Callable[[], bool] = never,
    ) -> None:
        #: The photo's file as it was sent.
        self.source = source
        self._labels = labels
        self.photo = photo
        self.depth = depth
        self.span = span
        self.options = options
        #: What made the map, if the photo did not bring it.
        self.info = info
        #: How the photo held its own depth, if that is the map.
        self.embedded_format = embedded_format
        self.scratch = scratch
        self.stopwatch = stopwatch
        #: Ask it between the frames of a long result (worker.pipeline.interruption).
        self.is_unwanted = is_unwanted
        self.table = colour_table(options.colormap, invert=options.invert)

    @cached_property
    def indices(self) -> Pixels:
        """The normalised map, uint8, H x W."""
        with self.stopwatch.time(Stage.COLOUR):
            return to_bytes(self.depth, self.span, self.scratch)

    @cached_property
    def colours(self) -> Pixels:
        """The heatmap, RGB, H x W x 3."""
        indices = self.indices
        with self.stopwatch.time(Stage.COLOUR):
            return colourise(indices, self.table, self.scratch.take("rgb", (*indices.shape, 3), np.uint8))

    def nearness(self, height: int, width: int, dilation: float = 0.0) -> Floats:
        """Return the map at a size of its own, float32, h x w: 0 is the farthest point, 1 the nearest.

        It is linear in relative inverse depth. With `normalize=job`, 0 and 1 are those of the job. A constant
        map is 0.5 everywhere. `dilation` widens what is near by this many pixels of the prediction.
        """
        depth = self.depth
        if depth.shape != (height, width):
            depth = resize(depth, height, width, Scratch())
        span = self.nearness_span(depth)
        if is_flat(span):
            return np.full(depth.shape, 0.5, np.float32)
        values = np.empty(depth.shape, np.float32)
        for top, strip in nearness_strips(depth, span):
            values[top : top + len(strip)] = strip
        return dilate(values, dilation)

    def nearness_span(self, depth: DepthMap) -> Range:
        """Return the values of the photo's map, at any size, that are nearness 0 and 1."""
        return self.span if self.options.normalize is Normalize.JOB else Range(low=depth.low, high=depth.high)

    @cached_property
    def labelled(self) -> Labelled | None:
        """What the photo's label picture says, if it has one."""
        if self._labels is None:
            return None
        with self.stopwatch.time(Stage.UPSAMPLE):
            return find_things(self._labels, self.nearness(*self.depth.shape))


def nearness_strips(depth: DepthMap, span: Range) -> Iterator[tuple[int, Floats]]:
    """Yield a map's nearness in strips, each with the number of its first row, valid until the next.

    `span` has the values that are 0 and 1; it is not flat (worker.pipeline.depth.is_flat).
    """
    scale = np.float32(1 / (span.high - span.low))
    for top, values in depth.upsampler.strips():
        values -= np.float32(span.low)
        values *= scale
        yield top, np.asarray(np.clip(values, 0, 1, out=values), np.float32)


def dilate(values: NDArray[T], dilation: float) -> NDArray[T]:
    """Widen what is near in a map, h x w, in place, by some pixels of a prediction of 256; return the map.

    Each pixel gets the largest value around it: in a disc, or in a square if that is large, for speed.
    """
    reach = round(dilation * max(values.shape) / LONG_SIDE)
    if reach < 1:
        return values
    shape = cv2.MORPH_ELLIPSE if reach < 4 else cv2.MORPH_RECT
    around = cv2.getStructuringElement(shape, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(values, around, dst=values), values.dtype)
