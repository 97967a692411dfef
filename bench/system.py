"""Compare the whole system (API, Valkey, S3 and workers) with the bare pipeline.

    python -m bench.system --json

Starts `fathom up` on free ports in its own folder and runs an album in three ways:

- `queue`: one child has a core to itself, everything else shares the other. Compares images per second of
  the child's CPU time with the bare pipeline, on the same photos in the same run.
- `scaling`: compares two children with one, on both cores, and accounts for the CPU time of the servers.
- `start`: the time from the start of a worker process to its first lease, with a cached graph.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench import processes
from bench.album import make_album
from bench.embedded_stack import OPTIONS, RunningStack, name_files, poll, run_album, run_stack, write_pictures
from bench.engine import warm_engine
from fathom.options import Options
from fathom.sync_client import Fathom, JobHandle
from shared.settings import Settings
from worker.model.openvino_engine import BRANCH_AFTER
from worker.pipeline.pipeline import Pipeline

ALL_PARTS = ("queue", "scaling", "start")


def measure(photos: int, parts: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fathom-bench-") as name:
        folder = Path(name)
        album = write_pictures(folder / "album", make_album(photos))
        report: dict[str, Any] = {"album": {"photos": len(album), "mb": round(_megabytes(album), 1)}}
        if {"queue", "start"} & set(parts):
            with run_stack(folder / "one", concurrency=1) as stack:
                report |= _measure_one(stack, album, parts)
        if "scaling" in parts:
            report["scaling"] = _measure_scaling(folder, album)
        return report


def _measure_one(stack: RunningStack, album: Sequence[Path], parts: Sequence[str]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    with Fathom(stack.info["api"]) as fathom:
        # The first photos compile the graphs, so they do not count.
        run_album(fathom, stack, _warm_up(album, 1))
        if "queue" in parts:
            report["queue"] = _measure_queue(fathom, stack, album)
        if "start" in parts:
            report["start"] = {
                "seconds_to_first_lease": [_measure_start(fathom, stack, album) for _ in range(3)]
            }
    return report


def _measure_queue(fathom: Fathom, stack: RunningStack, album: Sequence[Path]) -> dict[str, Any]:
    """Compare the child with the bare pipeline, which runs before and after it on the same core."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    processes.pin(stack.others(), [first])
    processes.pin(stack.children(), [last])
    before = _bare_pipeline(album, last)
    run = run_album(fathom, stack, album)
    after = _bare_pipeline(album, last)
    bare = 2 * len(album) / (before + after)
    return {
        **run.summary(),
        "pipeline_images_per_second_of_cpu": round(bare, 2),
        "share_of_the_pipeline": round(run.images / run.children_cpu / bare, 3),
    }


def _bare_pipeline(album: Sequence[Path], core: int) -> float:
    """Return the CPU seconds of the bare pipeline for an album, in its own process."""
    program = [sys.executable, "-m", "bench.system", "--bare", str(core), *map(str, album)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "FATHOM_LOG_LEVEL": "ERROR"}
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _run_bare(core: int, album: Sequence[str]) -> None:
    os.sched_setaffinity(0, {core})
    settings = Settings.from_environ()
    pipeline = Pipeline.from_settings(warm_engine(settings), settings)
    options = Options.parse(OPTIONS)
    for path in album[:3]:
        pipeline.render(Path(path).read_bytes(), options)
    began = time.process_time()
    for path in album:
        pipeline.render(Path(path).read_bytes(), options)
    print(time.process_time() - began)


def _measure_scaling(folder: Path, album: Sequence[Path]) -> dict[str, Any]:
    """Run one child, then two, with all processes on two cores.

    Two children fill both cores, so the servers take CPU time from them; on a machine with spare cores they
    would not. Therefore the CPU time of the servers is subtracted from the wall time of two children.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    runs = []
    for concurrency in (1, 2):
        with (
            run_stack(folder / f"children-{concurrency}", concurrency=concurrency) as stack,
            Fathom(stack.info["api"]) as fathom,
        ):
            run_album(fathom, stack, _warm_up(album, concurrency))
            processes.pin([*stack.others(), *stack.children()], cores)
            # Long enough that the beginning and the end of a job hardly count.
            runs.append(run_album(fathom, stack, [*album] * 3))
    one, two = runs
    rates = [run.images / run.wall for run in runs]
    accounted = two.images / (two.wall - two.others_cpu / len(cores))
    return {
        "one_child": one.summary(),
        "two_children": two.summary(),
        "ratio": round(rates[1] / rates[0], 2),
        "ratio_with_servers_accounted_for": round(accounted / rates[0], 2),
    }


def _warm_up(album: Sequence[Path], children: int) -> list[Path]:
    """Return enough photos that every child has compiled everything."""
    count = (BRANCH_AFTER + 16) * children
    return list(islice(cycle(album), count))


def _measure_start(fathom: Fathom, stack: RunningStack, album: Sequence[Path]) -> float:
    """Kill the worker while a job waits; return the seconds that its successor takes to begin."""
    old = stack.worker
    # The stopped worker takes no work, so the successor gets the whole job.
    os.kill(old, signal.SIGSTOP)
    for child in stack.children():
        os.kill(child, signal.SIGSTOP)
    job = fathom.submit(name_files(album), OPTIONS)
    for pid in processes.descendants(old):
        os.kill(pid, signal.SIGKILL)
    poll("The new worker", lambda: stack.worker != old)
    began = processes.started_at(stack.worker)
    poll("The first lease", lambda: _has_begun(job))
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    job.wait()
    job.delete()
    return round(seconds, 2)


def _has_begun(job: JobHandle) -> bool:
    return any(True for _ in job.images("processing")) or job.refresh().succeeded > 0


def _megabytes(album: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in album) / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    if args.bare is not None:
        _run_bare(args.bare, args.paths)
        return 0
    report = measure(args.photos, args.parts.split(","))
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.system", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=int, default=40, help="photos of each size class (40)")
    parser.add_argument("--parts", default=",".join(ALL_PARTS), help="what to measure (all)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
