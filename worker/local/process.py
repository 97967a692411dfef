"""What a process of `fathom run` does: it works off orders, one photo at a time."""

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
from worker.pipeline.pipeline import Pipeline, ResultFile

if TYPE_CHECKING:
    from worker.model.engine import InferenceEngine

logger = logging.getLogger(__name__)

#: What a file system says that has no room, or none for this user.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Makes a child's engine. It is sent to the child, and therefore a function of a module.
EngineLoader: TypeAlias = "Callable[[Settings], InferenceEngine]"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a child is to do with one photo."""

    index: int
    path: Path
    #: By output, where its file goes; outputs missing here are not written.
    targets: Mapping[str, Path]
    phase: Phase
    #: The range of all photos, once they are measured.
    common: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a child did with one photo."""

    index: int
    failure: ImageFailure | None = None
    #: What the photo adds to the common range, after Phase.MEASURE.
    measured: Range | None = None
    #: The name of the network's weights.
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What all children have in common."""

    options: Options
    settings: Settings
    load: EngineLoader


class _Child:
    """One process's pipeline, made at the first photo, where an error can still be reported."""

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        self._pipeline: Pipeline | None = None
        self._weights: str | None = None

    def carry_out(self, order: Order) -> Report:
        pipeline = self._load()
        data = _read(order.path, self._brief.settings.max_image_bytes)
        if order.phase is Phase.MEASURE:
            measured = pipeline.measure(data, self._brief.options)
            return Report(index=order.index, measured=measured, weights=self._weights)
        _write(pipeline.render(data, self._brief.options, common=order.common), order.targets)
        return Report(index=order.index, weights=self._weights)

    def _load(self) -> Pipeline:
        if self._pipeline is None:
            engine = self._brief.load(self._brief.settings)
            self._pipeline = Pipeline.from_settings(engine, self._brief.settings)
            self._weights = engine.info.weights
        return self._pipeline


_child: _Child | None = None


def start_child(brief: Brief) -> None:
    """Make this process ready for orders."""
    global _child
    bound_malloc()
    _child = _Child(brief)
    # Ctrl-C goes to all processes of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent tells the user how it goes; a child only what nobody foresaw.
    configure_logging("ERROR", brief.settings.log_format)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def process_order(order: Order) -> Report:
    """Carry out an order in a process that `start_child` made ready.

    Raises ModelError or SettingsError if there is no network; every other failure is in the report.
    """
    assert _child is not None
    try:
        return _child.carry_out(order)
    except ImageError as exc:
        return failed(order, exc)
    except FathomError:
        raise
    except Exception:
        logger.exception("%s failed unexpectedly.", order.path, extra={"action": "process_photo"})
        return failed(order, InternalImageError())


def failed(order: Order, error: ImageError) -> Report:
    return Report(index=order.index, failure=ImageFailure(code=error.code, message=error.message))


def _end_with_parent() -> None:
    """End this process when its parent is gone, however it went: nobody would read the reports."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _read(path: Path, max_bytes: int) -> bytes:
    """Read a photo; of one too large just enough for the pipeline to refuse it."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as exc:
        raise ImageUnreadable(f"It cannot be read: {exc.strerror or exc}.") from exc


def _write(files: Iterable[ResultFile], targets: Mapping[str, Path]) -> None:
    """Write results so that each appears whole or not at all, the sidecar last.

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
