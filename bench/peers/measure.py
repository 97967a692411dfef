"""Run a peer's command on some cores: its time, its processor time and its memory, with its server's."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.peers.peer import Started

#: Reading the memory of processes takes time itself, at most this share of one core.
_SAMPLING_SHARE = 0.02
_SAMPLE_EVERY = 0.1


class PeerFailed(Exception):
    """A peer's command did not make a heatmap of every photo."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one album took, in seconds and MB."""

    wall: float
    #: Of the command and all it started, and of the server meanwhile.
    cpu: float
    #: From the command's start to its first heatmap.
    first: float
    #: From one heatmap to the next, in the second half of the album.
    pace: float
    peak_mb: float


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Let this thread, and so all processes that it starts, run on these cores only while the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_album(started: Started, album: Path, out: Path, cores: Sequence[int]) -> Run:
    """Turn an album into heatmaps in `out`. Raises PeerFailed if the command fails."""
    log = out.with_suffix(".log")
    served_before = _server_cpu(started)
    # The clock of the files' times.
    began_at, began = time.time(), time.perf_counter()
    with pinned(cores), log.open("wb") as file:
        command = started.command(album, out)
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **started.environ})
    with _MemorySamples([process.pid, *([started.server] if started.server else [])]) as samples:
        # This alone tells the processor time of a process that has ended, and of all it waited for.
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise PeerFailed(f"{' '.join(command)} failed: {log.read_text()[-2000:]}")
    written = sorted(path.stat().st_mtime for path in out.glob("*.jpg"))
    if len(written) != len(list(album.iterdir())):
        raise PeerFailed(f"{' '.join(command)} wrote {len(written)} heatmaps.")
    return Run(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime + _server_cpu(started) - served_before,
        first=written[0] - began_at,
        pace=_pace(written),
        peak_mb=samples.peak,
    )


def _pace(written: Sequence[float]) -> float:
    later = written[(len(written) - 1) // 2 :]
    return (later[-1] - later[0]) / max(1, len(later) - 1)


def _server_cpu(started: Started) -> float:
    return processes.cpu_seconds(processes.descendants(started.server)) if started.server else 0.0


class _MemorySamples:
    """Samples the memory of processes and all their descendants from a thread, shared pages counted once."""

    def __init__(self, roots: Sequence[int]) -> None:
        self.peak = 0.0
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _MemorySamples:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            began = time.thread_time()
            self.peak = max(self.peak, sum(map(_tree_mb, self._roots)))
            pause = max(_SAMPLE_EVERY, (time.thread_time() - began) / _SAMPLING_SHARE)


def _tree_mb(root: int) -> float:
    total = 0.0
    # Any of them may end in the meantime.
    with suppress(FileNotFoundError, ProcessLookupError):
        for pid in processes.descendants(root):
            total += processes.proportional_mb(pid)
    return total
