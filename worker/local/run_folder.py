"""The pipeline on a folder of photos, on all cores, with no server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fathom.options import Normalize, Options
from fathom.photos.discovery import Found, find_photos, to_path
from fathom.photos.labels import label_key
from fathom.photos.skipped import Skipped
from fathom.result_names import result_names
from shared.errors import RequestError
from shared.jobs.job import ImageFailure, Phase, Range
from shared.settings import Settings
from worker.local.process import EngineLoader, PhotoResult, PhotoTask, RunSpec
from worker.local.process_pool import ProcessPool
from worker.model.engines import load_engine

_SIDECAR = "depth"


@dataclass(frozen=True, kw_only=True)
class PhotoFailure:
    """A photo without a depth map, and why."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class FolderProgress:
    """Progress of a run: `done` of `total` photos in this pass, failed ones included."""

    #: A run normalised as a whole processes its photos twice.
    phase: Phase
    done: int
    total: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class FolderSummary:
    """How a run over a folder ended."""

    total: int
    #: Photos that were not tried, then the others, in the order of the photos.
    failures: tuple[PhotoFailure, ...]
    #: The name of the network's weights; None if no photo reached the network.
    weights: str | None
    skipped: Skipped

    @property
    def succeeded(self) -> int:
        return self.total - len(self.failures)


def run_folder(
    source: Path | Sequence[Path],
    out: Path,
    options: Options,
    settings: Settings,
    *,
    jobs: int | None = None,
    sidecars: bool = True,
    on_progress: Callable[[FolderProgress], None] = lambda progress: None,
    load: EngineLoader = load_engine,
) -> FolderSummary:
    """Process every photo of `source`, files and folders, into the folder `out`.

    Results keep the photos' relative names, as `fathom.result_names` makes them safe and unique,
    and appear only when complete. `jobs` processes share the work, by default one a core.
    A photo that fails, kills its process, or cannot be written is listed in the summary and stops no other
    photo; so is a file that Fathom does not or cannot read. Files in `out` do not count as photos.

    Raises RequestError if a result would be written over a photo, OSError if there is no
    `source` or `out` cannot be created, and ModelError or SettingsError if there is no network.
    """
    found = find_photos([source] if isinstance(source, Path) else source, skip=out)
    photos = found.photos
    tasks = _plan(found, out, options, sidecars=sidecars)
    out.mkdir(parents=True, exist_ok=True)
    processes = max(1, min(jobs or _cores(), len(tasks)))
    pool = ProcessPool(RunSpec(options=options, settings=settings, load=load), processes=processes)
    totals = _Totals(len(tasks), on_progress)
    _run_passes(tasks, pool, totals, options)
    failures = [PhotoFailure(**vars(refused)) for refused in found.refused]
    failures += [
        PhotoFailure(name=photos[index][1], code=failure.code, message=failure.message)
        for index, failure in sorted(totals.failures.items())
    ]
    return FolderSummary(
        total=len(photos) + len(found.refused),
        failures=tuple(failures),
        weights=totals.weights,
        skipped=found.skipped,
    )


class _Totals:
    """Adds up the results of a run."""

    def __init__(self, total: int, on_progress: Callable[[FolderProgress], None]) -> None:
        self.failures: dict[int, ImageFailure] = {}
        self.weights: str | None = None
        self._total = total
        self._on_progress = on_progress
        self._ranges: list[Range] = []

    def add(self, phase: Phase, results: Iterable[PhotoResult]) -> None:
        """Add the results of one pass as they come."""
        for done, result in enumerate(results, start=1 + len(self.failures)):
            self._take(result)
            failed = len(self.failures)
            self._on_progress(FolderProgress(phase=phase, done=done, total=self._total, failed=failed))

    def _take(self, result: PhotoResult) -> None:
        if result.failure is not None:
            self.failures[result.index] = result.failure
        if result.measured is not None:
            self._ranges.append(result.measured)
        self.weights = result.weights or self.weights

    def common(self) -> Range | None:
        """Return the common range of all measured photos; None if there are none."""
        if not self._ranges:
            return None
        return Range(low=min(r.low for r in self._ranges), high=max(r.high for r in self._ranges))


def _run_passes(tasks: Sequence[PhotoTask], pool: ProcessPool, totals: _Totals, options: Options) -> None:
    common = None
    if options.normalize is Normalize.JOB:
        totals.add(Phase.MEASURE, pool.run(replace(task, phase=Phase.MEASURE) for task in tasks))
        common = totals.common()
    left = [replace(task, common=common) for task in tasks if task.index not in totals.failures]
    totals.add(Phase.RENDER, pool.run(left))


def _plan(found: Found, out: Path, options: Options, *, sidecars: bool) -> list[PhotoTask]:
    """Decide where each result goes. Raises RequestError where that is over a photo."""
    photos = found.photos
    labels = found.labels if options.need_labels else {}
    # Unlike Path.resolve, this does not raise for circular links; writing there raises instead.
    taken = {os.path.realpath(path) for path, _ in photos}
    tasks = []
    for index, files in enumerate(result_names((name for _, name in photos), options)):
        targets = {
            output: out / to_path(file) for output, file in files.items() if sidecars or output != _SIDECAR
        }
        for target in targets.values():
            if os.path.realpath(target) in taken:
                raise RequestError(f"{target} is a photo; choose another folder for the results.")
        path, name = photos[index]
        label = labels.get(label_key(name))
        tasks.append(PhotoTask(index=index, path=path, targets=targets, phase=Phase.RENDER, labels=label))
    return tasks


def _cores() -> int:
    """Return how many cores this process may use, or how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
