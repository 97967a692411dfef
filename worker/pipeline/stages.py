"""The stages of the pipeline, and how long each takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


class Stage(StrEnum):
    """A step of the pipeline, in order."""

    DECODE = "decode"
    PREPARE = "prepare"
    INFER = "infer"
    #: Finding the prediction's steps, widening it, and finding the range of the map.
    UPSAMPLE = "upsample"
    #: Interpolating, normalising and colouring the map strip by strip. The PNG encoder takes each strip while
    #: it is in the processor's cache, so for a PNG this counts as ENCODE.
    COLOUR = "colour"
    ENCODE = "encode"


class Stopwatch:
    """Adds up the seconds of each stage of one photo. Stages must not be nested."""

    def __init__(self) -> None:
        #: Seconds by stage; a stage that did not run is missing.
        self.seconds: dict[Stage, float] = {}

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start

    def time_each(self, stage: Stage, items: Iterator[T]) -> Iterator[T]:
        """Yield `items`, and time how long each takes to produce, not to consume."""
        while True:
            with self.time(stage):
                item = next(items, None)
            if item is None:
                return
            yield item
