"""Measure the resident memory of a worker child over photos of mixed sizes, shapes and formats.

    python -m bench.memory --photos 500 --json

For each precision, `fathom up` runs with one child in its own folder, and processes an album of
sixteen mixed photos of up to 50 megapixels (`bench.album`) again and again, as one job each time. Pages
that the child shares with other processes, such as those of libraries, count in full.
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
from bench.embedded_stack import RunningStack, run_album, run_stack, write_pictures
from fathom.sync_client import Fathom

PRECISIONS = ("f32", "bf16")


def measure(photos: int, precisions: Sequence[str]) -> dict[str, Any]:
    """Return the memory of the child for each precision, in MB."""
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
        run_album(fathom, stack, album[:2])
        (child,) = stack.children()
        processes.reset_peak(child)
        with _memory_samples(child) as samples:
            resting = [
                _memory_after_album(fathom, stack, child, album) for _ in range(-(-photos // len(album)))
            ]
        report = summarise(resting, samples, len(album))
        return {
            **report,
            "peak_mb": round(processes.peak_mb(child)),
            "one_process_throughout": stack.children() == [child],
            "torch_loaded": "libtorch" in Path(f"/proc/{child}/maps").read_text(),
        }


def _memory_after_album(fathom: Fathom, stack: RunningStack, child: int, album: Sequence[Path]) -> float:
    run_album(fathom, stack, album)
    return processes.resident_mb(child)


def summarise(resting: Sequence[float], samples: Sequence[float], photos: int) -> dict[str, Any]:
    """Summarise the memory after each job (of `photos` photos), and the samples over time."""
    # The first jobs still bring new shapes.
    settled = resting[len(resting) // 5 :]
    slope = np.polyfit(np.arange(len(settled)) * photos, settled, 1)[0] if len(settled) > 1 else 0.0
    return {
        "photos": len(resting) * photos,
        "rest_mb_after_each_job": [round(rest) for rest in resting],
        "median_mb": round(float(np.median(samples))),
        "percentile_99_mb": round(float(np.percentile(samples, 99))),
        "slope_mb_per_100_photos": round(100 * float(slope), 3),
    }


@contextmanager
def _memory_samples(pid: int, seconds: float = 0.02) -> Iterator[list[float]]:
    """Sample the resident memory of a process, in MB, in a thread."""
    samples: list[float] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(seconds):
            samples.append(processes.resident_mb(pid))

    thread = threading.Thread(target=sample, daemon=True)
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
    parser.add_argument("--photos", type=int, default=500, help="photos, rounded up to whole albums (500)")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="precisions to measure (all)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
