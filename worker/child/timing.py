"""Measure a child's work from outside: around its pipeline, and as an observer of its object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from fathom.options import Options
from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.job import Range
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.model import Family
from shared.objectstore.port import Transfer, TransferObserver
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

#: Two stages beside the pipeline's own: reading one photo, and writing one result file.
FETCH, STORE = "fetch", "store"


class DepthPipeline(Protocol):
    """What a child needs of the pipeline."""

    def measure(self, data: bytes, options: Options) -> Range: ...

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]: ...


class StagedPipeline(DepthPipeline, Protocol):
    """A pipeline that says how long each step of its latest photo took."""

    @property
    def seconds(self) -> Mapping[Stage, float]: ...


class TimedPipeline:
    """A pipeline that records its stages and counts images for its worker."""

    def __init__(self, pipeline: StagedPipeline, metrics_buffer: MetricsBuffer, *, worker: str) -> None:
        self._pipeline = pipeline
        self._metrics_buffer = metrics_buffer
        self._worker = worker

    def measure(self, data: bytes, options: Options) -> Range:
        with self._timed():
            return self._pipeline.measure(data, options)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        try:
            with self._timed():
                files = self._pipeline.render(
                    data, options, common=common, labels=labels, is_unwanted=is_unwanted
                )
        except ImageError:
            self._metrics_buffer.count_image(self._worker)
            raise
        self._metrics_buffer.count_image(self._worker)
        return files

    @contextmanager
    def _timed(self) -> Iterator[None]:
        try:
            yield
        finally:
            for stage, seconds in self._pipeline.seconds.items():
                self._metrics_buffer.observe(Family.STAGE, stage, seconds=seconds)


def record_transfers(metrics_buffer: MetricsBuffer) -> TransferObserver:
    """Return an observer that records how long photos take to be read, and results to be written."""

    def observe(transfer: Transfer, key: str, seconds: float) -> None:
        if transfer is Transfer.READ and object_keys.is_input(key):
            metrics_buffer.observe(Family.STAGE, FETCH, seconds=seconds)
        elif transfer is Transfer.WRITE and object_keys.is_output(key):
            metrics_buffer.observe(Family.STAGE, STORE, seconds=seconds)

    return observe
