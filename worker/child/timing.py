"""Measuring a child's work from outside: what it works with is wrapped, and it knows nothing of that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.job import Range
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.model import Family
from shared.objectstore.port import ObjectStore
from shared.options import Options
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

#: The steps beside those of the pipeline: one photo read, and one file of results written.
FETCH, STORE = "fetch", "store"


class StagedPipeline(Protocol):
    """A pipeline that says how long the steps of its latest photo took."""

    @property
    def seconds(self) -> Mapping[Stage, float]: ...

    def measure(self, data: bytes, options: Options) -> Range: ...

    def render(
        self, data: bytes, options: Options, *, common: Range | None = None
    ) -> tuple[ResultFile, ...]: ...


class TimedPipeline:
    """A pipeline whose steps are recorded, and its images counted for its worker."""

    def __init__(self, pipeline: StagedPipeline, metrics_buffer: MetricsBuffer, *, worker: str) -> None:
        self._pipeline = pipeline
        self._metrics_buffer = metrics_buffer
        self._worker = worker

    def measure(self, data: bytes, options: Options) -> Range:
        with self._timed():
            return self._pipeline.measure(data, options)

    def render(self, data: bytes, options: Options, *, common: Range | None = None) -> tuple[ResultFile, ...]:
        try:
            with self._timed():
                files = self._pipeline.render(data, options, common=common)
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


class _TimedObjects:
    """An object store that records how long photos take to come and results to go."""

    def __init__(self, objects: ObjectStore, metrics_buffer: MetricsBuffer) -> None:
        self._objects = objects
        self._metrics_buffer = metrics_buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        with self._timed(FETCH if object_keys.is_input(key) else None):
            return self._objects.get(key, start=start, stop=stop)

    def get_tagged(self, key: str, *, stop: int | None = None) -> tuple[bytes, str]:
        with self._timed(FETCH if object_keys.is_input(key) else None):
            return self._objects.get_tagged(key, stop=stop)

    def put(self, key: str, data: bytes | memoryview, **how: Any) -> None:
        with self._timed(STORE if object_keys.is_output(key) else None):
            self._objects.put(key, data, **how)

    @contextmanager
    def _timed(self, stage: str | None) -> Iterator[None]:
        began = time.monotonic()
        yield
        if stage is not None:
            self._metrics_buffer.observe(Family.STAGE, stage, seconds=time.monotonic() - began)


def timed_objects(objects: ObjectStore, metrics_buffer: MetricsBuffer) -> ObjectStore:
    """Return an object store whose photos read and results written are recorded; all else is as it was."""
    return cast(ObjectStore, _TimedObjects(objects, metrics_buffer))
