"""Timing of a child's work: wrappers around its pipeline and object store, which the child does not see."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from fathom.options import Options
from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.job import Range
from shared.metrics.buffer import Recorder
from shared.metrics.model import Family
from shared.objectstore.port import ObjectStore
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

#: Two stages beside the pipeline's own: reading one photo, and writing one result file.
FETCH, STORE = "fetch", "store"


class DepthPipeline(Protocol):
    """What a child needs of the pipeline."""

    def measure(self, data: bytes, options: Options) -> Range: ...

    def render(
        self, data: bytes, options: Options, *, common: Range | None = None
    ) -> tuple[ResultFile, ...]: ...


class StagedPipeline(DepthPipeline, Protocol):
    """A pipeline that says how long each step of its latest photo took."""

    @property
    def seconds(self) -> Mapping[Stage, float]: ...


class TimedPipeline:
    """A pipeline that records its stages and counts images for its worker."""

    def __init__(self, pipeline: StagedPipeline, recorder: Recorder, *, worker: str) -> None:
        self._pipeline = pipeline
        self._recorder = recorder
        self._worker = worker

    def measure(self, data: bytes, options: Options) -> Range:
        with self._timed():
            return self._pipeline.measure(data, options)

    def render(self, data: bytes, options: Options, *, common: Range | None = None) -> tuple[ResultFile, ...]:
        try:
            with self._timed():
                files = self._pipeline.render(data, options, common=common)
        except ImageError:
            self._recorder.count_image(self._worker)
            raise
        self._recorder.count_image(self._worker)
        return files

    @contextmanager
    def _timed(self) -> Iterator[None]:
        try:
            yield
        finally:
            for stage, seconds in self._pipeline.seconds.items():
                self._recorder.observe(Family.STAGE, stage, seconds=seconds)


class _TimedObjects:
    """An object store that records how long it takes to read photos and to write results."""

    def __init__(self, objects: ObjectStore, recorder: Recorder) -> None:
        self._objects = objects
        self._recorder = recorder

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
            self._recorder.observe(Family.STAGE, stage, seconds=time.monotonic() - began)


def timed_objects(objects: ObjectStore, recorder: Recorder) -> ObjectStore:
    """Return an object store that times reads of photos and writes of results, and is otherwise the same."""
    return cast(ObjectStore, _TimedObjects(objects, recorder))
