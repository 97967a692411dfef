"""The whole system against the bare pipeline: API, Valkey, S3 and workers on the embedded stack.

    python -m bench.system --json

Starts `fathom up` on free ports in a folder of its own and works an album off, four times:

- `queue`: one child alone on one core, everything else on the other. Images per second of the
  child's processor time, against the bare pipeline's on the same photos in the same run.
- `scaling`: two children against one, on both cores, with the servers' processor time accounted for.
- `start`: from the start of a worker process to its first image in work, the graph being cached.
- `memory`: a child's resident memory through photos of mixed sizes, shapes and formats.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import processes
from bench.album import Picture, make_album, make_mixed
from client.api import Fathom, JobHandle
from client.models import UploadFile
from shared.options import Options
from shared.settings import Settings
from worker.model.engines import load_engine
from worker.pipeline.pipeline import Pipeline

OPTIONS = {"heatmap_format": "jpeg"}
ALL_PARTS = ("queue", "scaling", "start", "memory")
_POLL = 0.02
_READY_WITHIN = 180.0


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running `fathom up`."""

    folder: Path

    @property
    def info(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "stack.json").read_text()))

    @property
    def worker(self) -> int:
        return int(self.info["pids"]["workers"][0])

    def children(self) -> list[int]:
        """Return the processes that work images off, the slots of the one worker."""
        return processes.children(self.worker)

    def others(self) -> list[int]:
        """Return every other process of the stack: servers, API, and the worker's parent."""
        pids = self.info["pids"]
        apis = processes.descendants(pids["api"])
        return [pids["redis"], pids["s3"], *apis, self.worker]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What working an album off took, in seconds."""

    images: int
    #: From the first image in work to the end of the job.
    wall: float
    children_cpu: float
    others_cpu: float

    def summary(self) -> dict[str, float]:
        return {
            "images": self.images,
            "wall_images_per_second": round(self.images / self.wall, 2),
            "images_per_second_of_worker_cpu": round(self.images / self.children_cpu, 2),
            "worker_cpu_ms_per_image": round(1000 * self.children_cpu / self.images, 1),
            "servers_cpu_ms_per_image": round(1000 * self.others_cpu / self.images, 1),
            "busy": round(self.children_cpu / self.wall, 3),
        }


def measure(photos: int, mixed: int, parts: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fathom-bench-") as name:
        folder = Path(name)
        album = _write(folder / "album", make_album(photos))
        report: dict[str, Any] = {"album": {"photos": len(album), "mb": round(_megabytes(album), 1)}}
        if {"queue", "start"} & set(parts):
            with _stack(folder / "one", concurrency=1) as stack:
                report |= _measure_one(stack, album, parts)
        if "scaling" in parts:
            report["scaling"] = _measure_scaling(folder, album)
        if "memory" in parts:
            with _stack(folder / "memory", concurrency=1) as stack:
                report["memory"] = _measure_memory(stack, folder / "mixed", mixed)
        return report


def _measure_one(stack: Stack, album: Sequence[Path], parts: Sequence[str]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    with Fathom(stack.info["api"]) as fathom:
        # The first album compiles, and is not counted.
        _work_off(fathom, stack, album[:3])
        if "queue" in parts:
            report["queue"] = _measure_queue(fathom, stack, album)
        if "start" in parts:
            report["start"] = {
                "seconds_to_first_lease": [_measure_start(fathom, stack, album) for _ in range(3)]
            }
    return report


def _measure_queue(fathom: Fathom, stack: Stack, album: Sequence[Path]) -> dict[str, Any]:
    """Compare the child with the bare pipeline, before and after, on the core it has for itself."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    processes.pin(stack.others(), [first])
    processes.pin(stack.children(), [last])
    before = _bare_pipeline(album, last)
    run = _work_off(fathom, stack, album)
    after = _bare_pipeline(album, last)
    bare = 2 * len(album) / (before + after)
    return {
        **run.summary(),
        "pipeline_images_per_second_of_cpu": round(bare, 2),
        "share_of_the_pipeline": round(run.images / run.children_cpu / bare, 3),
    }


def _bare_pipeline(album: Sequence[Path], core: int) -> float:
    """Return the processor seconds the pipeline takes for an album, in a process of its own."""
    program = [sys.executable, "-m", "bench.system", "--bare", str(core), *map(str, album)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "FATHOM_LOG_LEVEL": "ERROR"}
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _run_bare(core: int, album: Sequence[str]) -> None:
    os.sched_setaffinity(0, {core})
    settings = Settings.from_environ()
    pipeline = Pipeline.from_settings(load_engine(settings), settings)
    options = Options.parse(OPTIONS)
    for path in album[:3]:
        pipeline.render(Path(path).read_bytes(), options)
    began = time.process_time()
    for path in album:
        pipeline.render(Path(path).read_bytes(), options)
    print(time.process_time() - began)


def _measure_scaling(folder: Path, album: Sequence[Path]) -> dict[str, Any]:
    """Run one child, then two, all processes on two cores.

    Where two children fill both cores, the servers take their time from them; a machine with
    cores to spare would not. So their processor time is taken off the wall time of two.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    runs = []
    for concurrency in (1, 2):
        with (
            _stack(folder / f"children-{concurrency}", concurrency=concurrency) as stack,
            Fathom(stack.info["api"]) as fathom,
        ):
            _work_off(fathom, stack, [*album[:3]] * 4)
            processes.pin([*stack.others(), *stack.children()], cores)
            # Long enough for the beginning and the end of a job not to count for much.
            runs.append(_work_off(fathom, stack, [*album] * 3))
    one, two = runs
    rates = [run.images / run.wall for run in runs]
    accounted = two.images / (two.wall - two.others_cpu / len(cores))
    return {
        "one_child": one.summary(),
        "two_children": two.summary(),
        "ratio": round(rates[1] / rates[0], 2),
        "ratio_with_servers_accounted_for": round(accounted / rates[0], 2),
    }


def _measure_start(fathom: Fathom, stack: Stack, album: Sequence[Path]) -> float:
    """Kill the worker while a job waits, and see when the one started in its place begins."""
    old = stack.worker
    # It takes nothing on any more, so that the job is all there for its successor.
    os.kill(old, signal.SIGSTOP)
    for child in stack.children():
        os.kill(child, signal.SIGSTOP)
    job = fathom.submit(_files(album), OPTIONS)
    for pid in processes.descendants(old):
        os.kill(pid, signal.SIGKILL)
    _poll("a new worker", lambda: stack.worker != old)
    began = processes.started_at(stack.worker)
    _poll("the first lease", lambda: _is_in_work(job))
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    job.wait()
    job.delete()
    return round(seconds, 2)


def _measure_memory(stack: Stack, folder: Path, photos: int) -> dict[str, Any]:
    """Work `photos` mixed photos off, a few at a time, and watch the child's resident memory."""
    album = _write(folder, make_mixed())
    with Fathom(stack.info["api"]) as fathom:
        _work_off(fathom, stack, album[:2])
        (child,) = stack.children()
        processes.forget_peak(child)
        with _watch(child) as samples:
            rests = [_rest(fathom, stack, child, album) for _ in range(-(-photos // len(album)))]
        peak = processes.peak_mb(child)
        same = stack.children() == [child]
    # The first rounds still meet shapes for the first time.
    settled = rests[len(rests) // 5 :]
    slope = np.polyfit(np.arange(len(settled)) * len(album), settled, 1)[0] if len(settled) > 1 else 0.0
    return {
        "photos": len(rests) * len(album),
        "one_process_throughout": same,
        "resident_mb_after_each_round": [round(rest) for rest in rests],
        "median_mb": round(float(np.median(samples))),
        "percentile_99_mb": round(float(np.percentile(samples, 99))),
        "highest_mb": round(peak),
        "slope_mb_per_100_photos": round(100 * float(slope), 3),
    }


def _rest(fathom: Fathom, stack: Stack, child: int, album: Sequence[Path]) -> float:
    _work_off(fathom, stack, album)
    return processes.resident_mb(child)


@contextmanager
def _watch(pid: int, seconds: float = 0.02) -> Iterator[list[float]]:
    """Collect the resident memory of a process, in MB, from a thread."""
    samples: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(seconds):
            samples.append(processes.resident_mb(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _work_off(fathom: Fathom, stack: Stack, album: Sequence[Path]) -> Run:
    """Run an album as one job, and forget it."""
    job = fathom.submit(_files(album), OPTIONS)
    began = time.monotonic()
    children, others = stack.children(), stack.others()
    cpu = processes.cpu_seconds(children), processes.cpu_seconds(others)
    done = job.refresh().succeeded
    _poll("the end of the job", lambda: job.refresh().ended, every=0.1)
    wall = time.monotonic() - began
    used = processes.cpu_seconds(children) - cpu[0], processes.cpu_seconds(others) - cpu[1]
    if job.status.succeeded != len(album):
        raise SystemExit(f"{job.status.failed} of {len(album)} photos failed.")
    job.delete()
    return Run(images=len(album) - done, wall=wall, children_cpu=used[0], others_cpu=used[1])


def _is_in_work(job: JobHandle) -> bool:
    return any(True for _ in job.images("processing")) or job.refresh().succeeded > 0


def _files(album: Sequence[Path]) -> list[UploadFile]:
    return [UploadFile(path=path, name=f"{number}{path.suffix}") for number, path in enumerate(album)]


def _write(folder: Path, pictures: Iterator[Picture]) -> list[Path]:
    paths = []
    for picture in pictures:
        paths.append(folder / picture.name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(picture.data)
    return paths


def _megabytes(album: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in album) / 1e6


@contextmanager
def _stack(folder: Path, *, concurrency: int) -> Iterator[Stack]:
    """Run `fathom up` while the block runs."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "client.cli", "up", "--port", "0", "--data", str(folder)]
    command += ["--workers", "1", "--concurrency", str(concurrency)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        ready = folder / "stack.json"
        _poll("the stack", lambda: ready.exists() or process.poll() is not None, seconds=_READY_WITHIN)
        if process.poll() is not None:
            raise SystemExit((folder / "up.log").read_text())
        yield Stack(folder=folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _poll(what: str, check: Callable[[], bool], *, seconds: float = 600.0, every: float = _POLL) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:g} s.")
        time.sleep(every)


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    if args.bare is not None:
        _run_bare(args.bare, args.paths)
        return 0
    report = measure(args.photos, args.mixed, args.parts.split(","))
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.system", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=int, default=40, help="photos of each size class (40)")
    parser.add_argument("--mixed", type=int, default=500, help="photos for the test of memory (500)")
    parser.add_argument("--parts", default=",".join(ALL_PARTS), help="what to measure (all)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
