"""The pipeline on a folder of photos, on all cores, with no server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fathom.options import Normalize, Options
from fathom.photos.discovery import find_photos, to_path
from fathom.photos.skipped import Skipped
from fathom.result_names import result_names
from shared.errors import RequestError
from shared.jobs.job import ImageFailure, Phase, Range
from shared.settings import Settings
from worker.local.process import Brief, EngineLoader, Order, Report
from worker.local.process_pool import Crew
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
    """Where a run stands: `done` of `total` photos in this pass, failed ones included."""

    #: A run normalised as a whole goes over its photos twice.
    phase: Phase
    done: int
    total: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class FolderSummary:
    """What became of the photos of a folder."""

    total: int
    #: Those that were not tried, then the others, in the order of the photos.
    failures: tuple[PhotoFailure, ...]
    #: The name of the network's weights; None if no photo came as far as the network.
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
    A photo that fails, or whose results cannot be written, is in the summary and stops no other, not
    even if it kills a process; so is what Fathom does not read and what it cannot. What lies in `out`
    is not taken for a photo.

    Raises RequestError if a result would be written over a photo, OSError if there is no
    `source` or `out` cannot be created, and ModelError or SettingsError if there is no network.
    """
    found = find_photos([source] if isinstance(source, Path) else source, skip=out)
    photos = found.photos
    orders = _plan(photos, out, options, sidecars=sidecars)
    out.mkdir(parents=True, exist_ok=True)
    processes = max(1, min(jobs or _cores(), len(orders)))
    crew = Crew(Brief(options=options, settings=settings, load=load), processes=processes)
    tally = _Tally(len(orders), on_progress)
    _run_passes(orders, crew, tally, options)
    failures = [PhotoFailure(**vars(refused)) for refused in found.refused]
    failures += [
        PhotoFailure(name=photos[index][1], code=failure.code, message=failure.message)
        for index, failure in sorted(tally.failures.items())
    ]
    return FolderSummary(
        total=len(photos) + len(found.refused),
        failures=tuple(failures),
        weights=tally.weights,
        skipped=found.skipped,
    )


class _Tally:
    """Adds up the reports of a run."""

    def __init__(self, total: int, on_progress: Callable[[FolderProgress], None]) -> None:
        self.failures: dict[int, ImageFailure] = {}
        self.weights: str | None = None
        self._total = total
        self._on_progress = on_progress
        self._ranges: list[Range] = []

    def add(self, phase: Phase, reports: Iterable[Report]) -> None:
        """Take in the reports of one pass as they come."""
        for done, report in enumerate(reports, start=1 + len(self.failures)):
            self._take(report)
            failed = len(self.failures)
            self._on_progress(FolderProgress(phase=phase, done=done, total=self._total, failed=failed))

    def _take(self, report: Report) -> None:
        if report.failure is not None:
            self.failures[report.index] = report.failure
        if report.measured is not None:
            self._ranges.append(report.measured)
        self.weights = report.weights or self.weights

    def common(self) -> Range | None:
        """Return the range of all photos measured; None if there is none."""
        if not self._ranges:
            return None
        return Range(low=min(r.low for r in self._ranges), high=max(r.high for r in self._ranges))


def _run_passes(orders: Sequence[Order], crew: Crew, tally: _Tally, options: Options) -> None:
    common = None
    if options.normalize is Normalize.JOB:
        tally.add(Phase.MEASURE, crew.run(replace(order, phase=Phase.MEASURE) for order in orders))
        common = tally.common()
    left = [replace(order, common=common) for order in orders if order.index not in tally.failures]
    tally.add(Phase.RENDER, crew.run(left))


def _plan(photos: Sequence[tuple[Path, str]], out: Path, options: Options, *, sidecars: bool) -> list[Order]:
    """Decide where each result goes. Raises RequestError where that is over a photo."""
    # Unlike Path.resolve, this raises nothing for links in a circle: whoever writes there finds out.
    taken = {os.path.realpath(path) for path, _ in photos}
    orders = []
    for index, files in enumerate(result_names((name for _, name in photos), options)):
        targets = {
            output: out / to_path(file) for output, file in files.items() if sidecars or output != _SIDECAR
        }
        for target in targets.values():
            if os.path.realpath(target) in taken:
                raise RequestError(f"{target} is a photo; choose another folder for the results.")
        orders.append(Order(index=index, path=photos[index][0], targets=targets, phase=Phase.RENDER))
    return orders


def _cores() -> int:
    """Return the cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
