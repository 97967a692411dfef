"""The whole system against the bare pipeline: API, Valkey, S3 and workers on the embedded stack.

    python -m bench.system --json

Starts `fathom up` on free ports in a folder of its own and works an album off, three times:

- `queue`: one child alone on one core, everything else on the other. Images per second of the
  child's processor time, against the bare pipeline's on the same photos in the same run.
- `scaling`: two children against one, on both cores, with the servers' processor time accounted for.
- `start`: from the start of a worker process to its first image in work, the graph being cached.
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
from bench.embedded_stack import OPTIONS, RunningStack, name_files, poll, run_stack, work_off, write_pictures
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
        # The first photos compile, and are not counted.
        work_off(fathom, stack, _warm_up(album, 1))
        if "queue" in parts:
            report["queue"] = _measure_queue(fathom, stack, album)
        if "start" in parts:
            report["start"] = {
                "seconds_to_first_lease": [_measure_start(fathom, stack, album) for _ in range(3)]
            }
    return report


def _measure_queue(fathom: Fathom, stack: RunningStack, album: Sequence[Path]) -> dict[str, Any]:
    """Compare the child with the bare pipeline, before and after, on the core it has for itself."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    processes.pin(stack.others(), [first])
    processes.pin(stack.children(), [last])
    before = _bare_pipeline(album, last)
    run = work_off(fathom, stack, album)
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
    pipeline = Pipeline.from_settings(warm_engine(settings), settings)
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
            run_stack(folder / f"children-{concurrency}", concurrency=concurrency) as stack,
            Fathom(stack.info["api"]) as fathom,
        ):
            work_off(fathom, stack, _warm_up(album, concurrency))
            processes.pin([*stack.others(), *stack.children()], cores)
            # Long enough for the beginning and the end of a job not to count for much.
            runs.append(work_off(fathom, stack, [*album] * 3))
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
    """Return enough of an album for each child to have all it compiles."""
    count = (BRANCH_AFTER + 16) * children
    return list(islice(cycle(album), count))


def _measure_start(fathom: Fathom, stack: RunningStack, album: Sequence[Path]) -> float:
    """Kill the worker while a job waits, and see when the one started in its place begins."""
    old = stack.worker
    # It takes nothing on any more, so that the job is all there for its successor.
    os.kill(old, signal.SIGSTOP)
    for child in stack.children():
        os.kill(child, signal.SIGSTOP)
    job = fathom.submit(name_files(album), OPTIONS)
    for pid in processes.descendants(old):
        os.kill(pid, signal.SIGKILL)
    poll("a new worker", lambda: stack.worker != old)
    began = processes.started_at(stack.worker)
    poll("the first lease", lambda: _is_in_work(job))
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    job.wait()
    job.delete()
    return round(seconds, 2)


def _is_in_work(job: JobHandle) -> bool:
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
