"""Measure every row on the same photos, on one core and on all."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path

from bench.peers.albums import PHOTOS, Albums, photo_names
from bench.peers.judge import WrongHeatmap, judge
from bench.peers.measure import PeerFailed, Run, run_album
from bench.peers.peer import Peer, Setup, Started
from bench.peers.references import References
from bench.peers.rows import missing_packages
from shared.settings import Settings

#: The most photos by which one album is longer than another.
_MOST = 600

#: Heatmaps at the end of an album that are judged: each photo twice. All would take longer than to make them.
_JUDGED = 2 * PHOTOS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared."""

    rows: Sequence[Peer]
    size_classes: Sequence[str]
    core_sets: Sequence[tuple[int, ...]]
    #: Roughly how long the photos take by which the second album is longer than the first.
    seconds: float
    #: How many they are; None: as many as take `seconds`.
    photos: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A line of the table: a peer, a class of photos, a number of cores."""

    row: Peer
    size_class: str
    cores: int
    #: Photos by which the longer album is longer; times per photo are differences over these.
    photos: int
    wall_ms: float
    cpu_ms: float
    #: What an album takes besides its photos, a server's start included.
    start_up_s: float
    #: From the command to the first heatmap, where a server is running already.
    first_result_s: float
    peak_mb: float
    #: Levels of 255 by which the heatmaps differ from Fathom's; None for a network of its own.
    off_by: float | None

    @property
    def per_second(self) -> float | None:
        """Return photos per second; None if they were too few to take any time that could be seen."""
        return 1000 / self.wall_ms if self.wall_ms > 0 else None


class Comparison:
    """Runs a plan in a folder of its own."""

    def __init__(
        self, plan: Plan, folder: Path, *, model: Path, settings: Settings, say: Callable[[str], None]
    ) -> None:
        self.cells: list[Cell] = []
        #: Why a row is missing.
        self.missing: dict[str, str] = {}
        self._plan = plan
        self._folder = folder
        self._say = say
        self._model = model
        self._albums = Albums(folder / "albums")
        self._references = References(self._albums, settings)

    def run(self) -> None:
        """Measure row by row, first on one core. A peer that fails leaves the others their rows."""
        for cores in self._plan.core_sets:
            for row in self._plan.rows:
                if packages := missing_packages(row.packages):
                    self.missing[row.name] = f"not installed: {', '.join(packages)}"
                    continue
                try:
                    self._measure_row(row, cores)
                except (PeerFailed, WrongHeatmap, SystemExit) as exc:
                    self.missing[f"{row.name} on {len(cores)} cores"] = f"failed: {exc}"

    def _measure_row(self, row: Peer, cores: tuple[int, ...]) -> None:
        setup = Setup(cores=cores, model=self._model, scratch=self._folder / f"{row.name}-{len(cores)}")
        began = time.perf_counter()
        with row.start(setup) as started:
            start_up = time.perf_counter() - began if started.server else 0.0
            started_row = _StartedRow(row, cores, started, self._albums, self._references, self._folder)
            if started.server or cores == self._plan.core_sets[0]:
                started_row.rehearse()
            for size_class in self._plan.size_classes:
                cell = started_row.measure(size_class, self._plan, start_up)
                self.cells.append(cell)
                self._say(f"{size_class}, {cell.cores} cores, {row.title}: {cell.wall_ms:.1f} ms a photo")


class _StartedRow:
    """A started peer, and what it is measured with."""

    def __init__(
        self,
        row: Peer,
        cores: tuple[int, ...],
        started: Started,
        albums: Albums,
        references: References,
        folder: Path,
    ) -> None:
        self._row = row
        self._cores = cores
        self._started = started
        self._albums = albums
        self._references = references
        self._out = folder / "heatmaps"
        #: Small photos that go before others. A program warms up in every run, a server once.
        self._warm_up = row.warm_up * len(cores)

    def rehearse(self) -> None:
        """Run once without measuring, so that files are in memory, and a server has compiled all."""
        self._run("vga", self._warm_up if self._started.server else 1)

    def measure(self, size_class: str, plan: Plan, start_up: float) -> Cell:
        """Run a short album and a long one, so that what each takes besides its photos is removed."""
        short, _ = self._run(size_class, PHOTOS)
        photos = plan.photos or self._photos_in(plan.seconds, short)
        if self._warm_up and not self._started.server:
            base = self._warming_up
            long, off_by = self._run(size_class, photos, self._warm_up)
        else:
            base = short
            long, off_by = self._run(size_class, PHOTOS + photos)
        wall = (long.wall - base.wall) / photos
        return Cell(
            row=self._row,
            size_class=size_class,
            cores=len(self._cores),
            photos=photos,
            wall_ms=1000 * wall,
            cpu_ms=1000 * (long.cpu - base.cpu) / photos,
            start_up_s=start_up + max(0.0, short.wall - PHOTOS * wall),
            first_result_s=short.first,
            peak_mb=max(short.peak_mb, long.peak_mb),
            off_by=off_by,
        )

    @cached_property
    def _warming_up(self) -> Run:
        """Run the small photos alone."""
        return self._run("vga", self._warm_up)[0]

    def _photos_in(self, seconds: float, short: Run) -> int:
        """Return about how many photos take so long, each of a class equally often."""
        # A server may answer many photos at once.
        least = short.wall / PHOTOS / 4 if self._started.server else 0.001
        rounds = math.ceil(seconds / max(short.pace, least) / PHOTOS)
        return min(_MOST, max(2, rounds) * PHOTOS)

    def _run(self, size_class: str, photos: int, warm_up: int = 0) -> tuple[Run, float | None]:
        """Run one album after small photos, and return how far its heatmaps are off too."""
        album = self._albums.make(size_class, photos, small_first=warm_up)
        references = self._references.expect(size_class, self._row.depth)
        expected = dict(zip(photo_names(photos), cycle(references), strict=False))
        try:
            run = run_album(self._started, album, self._out, self._cores)
            return run, judge(self._out, dict(list(expected.items())[-_JUDGED:]))
        finally:
            shutil.rmtree(self._out, ignore_errors=True)
