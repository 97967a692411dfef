"""What the outputs of one photo are made from."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from fathom.options import Normalize, Options
from shared.jobs.job import Range
from worker.model.preprocess import LONG_SIDE
from worker.pipeline.colour import colour_table, colourise
from worker.pipeline.decode.png_rows import Samples
from worker.pipeline.depth import DepthMap, is_flat, resize, to_bytes
from worker.pipeline.photo import Floats, Photo, Pixels
from worker.pipeline.scene.labelled import Labelled, find_things
from worker.pipeline.scratch import Scratch
from worker.pipeline.stages import Stage, Stopwatch


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
        scratch: Scratch,
        stopwatch: Stopwatch,
    ) -> None:
        #: The photo's file as it was sent.
        self.source = source
        self._labels = labels
        self.photo = photo
        self.depth = depth
        self.span = span
        self.options = options
        self.scratch = scratch
        self.stopwatch = stopwatch
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
        span = self.span if self.options.normalize is Normalize.JOB else Range(low=depth.low, high=depth.high)
        if is_flat(span):
            return np.full(depth.shape, 0.5, np.float32)
        values = np.empty(depth.shape, np.float32)
        scale = np.float32(1 / (span.high - span.low))
        for top, strip in depth.upsampler.strips():
            strip -= np.float32(span.low)
            strip *= scale
            np.clip(strip, 0, 1, out=values[top : top + len(strip)])
        return widen_near(values, dilation)

    @cached_property
    def labelled(self) -> Labelled | None:
        """What the photo's label picture says, if it has one."""
        if self._labels is None:
            return None
        with self.stopwatch.time(Stage.UPSAMPLE):
            return find_things(self._labels, self.nearness(*self.depth.shape))


def widen_near(values: Floats, dilation: float) -> Floats:
    """Widen what is near in a map, h x w, in place, by some pixels of the prediction; return the map.

    Each pixel takes the largest value in a disc around it, or in a square if that is large, for speed.
    """
    reach = round(dilation * max(values.shape) / LONG_SIDE)
    if reach < 1:
        return values
    shape = cv2.MORPH_ELLIPSE if reach < 4 else cv2.MORPH_RECT
    around = cv2.getStructuringElement(shape, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(values, around, dst=values), np.float32)
