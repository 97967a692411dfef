"""A process of `fathom run`: it processes one photo after another."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fathom.options import Options
from shared.errors import (
    CannotWrite,
    FathomError,
    ImageError,
    ImageUnreadable,
    InternalImageError,
    StorageFull,
)
from shared.jobs.job import ImageFailure, Phase, Range
from shared.observability.logs import configure_logging
from shared.settings import Settings
from worker.pipeline.memory import bound_malloc

if TYPE_CHECKING:
    from worker.model.engine import InferenceEngine
    from worker.pipeline.pipeline import Pipeline, ResultFile

logger = logging.getLogger(__name__)

#: Errors of a file system without room, or without room for this user.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Makes the engine of a process. It is pickled for the process, so it must be a function of a module.
EngineLoader: TypeAlias = "Callable[[Settings], InferenceEngine]"


@dataclass(frozen=True, kw_only=True)
class PhotoTask:
    """What a process must do with one photo."""

    index: int
    path: Path
    #: Where each output's file goes; other outputs are not written.
    targets: Mapping[str, Path]
    phase: Phase
    #: Its label picture, if that is wanted.
    labels: Path | None = None
    #: The range of all photos, once they are measured.
    common: Range | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """What a process did with one photo."""

    index: int
    failure: ImageFailure | None = None
    #: What the photo adds to the common range, after Phase.MEASURE.
    measured: Range | None = None
    #: The name of the network's weights.
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What all tasks of a run have in common."""

    options: Options
    settings: Settings
    load: EngineLoader


class _Processor:
    """Processes photos with a pipeline that is made at the first one, when an error can be reported."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._pipeline: Pipeline | None = None
        self._weights: str | None = None

    def process(self, task: PhotoTask) -> PhotoResult:
        pipeline = self._load()
        data = _read(task.path, self._spec.settings.max_image_bytes)
        if task.phase is Phase.MEASURE:
            measured = pipeline.measure(data, self._spec.options)
            return PhotoResult(index=task.index, measured=measured, weights=self._weights)
        labels = _read(task.labels, self._spec.settings.max_image_bytes) if task.labels else None
        files = pipeline.render(data, self._spec.options, common=task.common, labels=labels)
        _write(files, task.targets)
        return PhotoResult(index=task.index, weights=self._weights)

    def _load(self) -> Pipeline:
        if self._pipeline is None:
            # Imported here: the parent imports this module too, and runs no pipeline.
            from worker.pipeline.pipeline import Pipeline

            engine = self._spec.load(self._spec.settings)
            self._pipeline = Pipeline.from_settings(engine, self._spec.settings)
            self._weights = engine.info.weights
        return self._pipeline


_processor: _Processor | None = None


def initialize_process(spec: RunSpec) -> None:
    """Prepare this process for `process_photo`."""
    global _processor
    bound_malloc()
    _processor = _Processor(spec)
    # Ctrl-C goes to all processes of a terminal; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent reports to the user; this process logs unforeseen errors only.
    configure_logging("ERROR", spec.settings.log_format)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def process_photo(task: PhotoTask) -> PhotoResult:
    """Process one photo in a process that `initialize_process` made ready.

    Raises ModelError or SettingsError if there is no network; every other failure is in the result.
    """
    assert _processor is not None
    try:
        return _processor.process(task)
    except ImageError as exc:
        return failed(task, exc)
    except FathomError:
        raise
    except Exception:
        logger.exception("%s failed unexpectedly.", task.path, extra={"action": "process_photo"})
        return failed(task, InternalImageError())


def failed(task: PhotoTask, error: ImageError) -> PhotoResult:
    return PhotoResult(index=task.index, failure=ImageFailure(code=error.code, message=error.message))


def _end_with_parent() -> None:
    """End this process when its parent has ended, for whatever reason: nothing would read the results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _read(path: Path, max_bytes: int) -> bytes:
    """Read a photo, or just enough of one that is too large for the pipeline to refuse it."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as exc:
        raise ImageUnreadable(f"It cannot be read: {exc.strerror or exc}.") from exc


def _write(files: Iterable[ResultFile], targets: Mapping[str, Path]) -> None:
    """Write results, the sidecar last. Each file appears whole or not at all.

    Raises StorageFull or CannotWrite.
    """
    try:
        for file in files:
            if file.output in targets:
                _write_whole(targets[file.output], file.data)
    except OSError as exc:
        error = StorageFull if exc.errno in _FULL else CannotWrite
        raise error(f"The result cannot be written: {exc.strerror or exc}.") from exc


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
