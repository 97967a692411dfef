"""Resident memory of a worker child through photos of mixed sizes, shapes and formats.

    python -m bench.memory --photos 500 --json

For each precision `fathom up` runs in a folder of its own with one child, and mixed photos of up to
50 megapixels (`bench.album`, sixteen of them, over and over) go through it, one album a job. Pages
that the child shares with others, such as those of libraries, count like its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import processes
from bench.album import make_mixed
from bench.embedded_stack import RunningStack, run_stack, work_off, write_pictures
from fathom.sync_client import Fathom

PRECISIONS = ("f32", "bf16")


def measure(photos: int, precisions: Sequence[str]) -> dict[str, Any]:
    """Return what the child of each precision took, in MB."""
    with tempfile.TemporaryDirectory(prefix="fathom-bench-") as name:
        folder = Path(name)
        album = write_pictures(folder / "album", make_mixed())
        return {precision: _measure_precision(folder, precision, album, photos) for precision in precisions}


def _measure_precision(folder: Path, precision: str, album: Sequence[Path], photos: int) -> dict[str, Any]:
    environ = {"FATHOM_PRECISION": precision}
    with (
        run_stack(folder / precision, concurrency=1, environ=environ) as stack,
        Fathom(stack.info["api"]) as fathom,
    ):
        work_off(fathom, stack, album[:2])
        (child,) = stack.children()
        processes.forget_peak(child)
        with _memory_samples(child) as samples:
            rests = [_rest(fathom, stack, child, album) for _ in range(-(-photos // len(album)))]
        report = summarise(rests, samples, len(album))
        return {
            **report,
            "peak_mb": round(processes.peak_mb(child)),
            "one_process_throughout": stack.children() == [child],
            "torch_loaded": "libtorch" in Path(f"/proc/{child}/maps").read_text(),
        }


def _rest(fathom: Fathom, stack: RunningStack, child: int, album: Sequence[Path]) -> float:
    work_off(fathom, stack, album)
    return processes.resident_mb(child)


def summarise(rests: Sequence[float], samples: Sequence[float], photos: int) -> dict[str, Any]:
    """Sum up the resident memory after each of the jobs, of so many photos, and over time."""
    # The first jobs still meet shapes for the first time.
    settled = rests[len(rests) // 5 :]
    slope = np.polyfit(np.arange(len(settled)) * photos, settled, 1)[0] if len(settled) > 1 else 0.0
    return {
        "photos": len(rests) * photos,
        "rest_mb_after_each_job": [round(rest) for rest in rests],
        "median_mb": round(float(np.median(samples))),
        "percentile_99_mb": round(float(np.percentile(samples, 99))),
        "slope_mb_per_100_photos": round(100 * float(slope), 3),
    }


@contextmanager
def _memory_samples(pid: int, seconds: float = 0.02) -> Iterator[list[float]]:
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


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    report = measure(args.photos, args.precisions.split(","))
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=int, default=500, help="photos in all, rounded up to albums (500)")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="what to run in (all)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
