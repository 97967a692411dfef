"""Measure whether small jobs wait behind big ones, and what a big job costs.

    python -m bench.fairness --json

- `small`   a job of 10 images alone, and beside a job of 100,000, with 64 children
- `owners`  the job of one owner beside the thousand jobs of another
- `cost`    the memory of the big job in Valkey, and the cost of its status
- `album`   the big job in the whole system with eight children, its photos named by URL

`small` and `owners` run the real work loop on the real job store, but photos only sleep: two cores could not
run 64 workers, and only Valkey and the order of leases are measured. `album` runs everything but the
pipeline, which also sleeps. All ratios are within one run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.fairness.album import measure_album
from bench.fairness.cost import measure_cost
from bench.fairness.simulated_workers import FleetSize
from bench.fairness.small_jobs import measure_owners, measure_small
from fathom.stack.servers import ValkeyServer

PARTS = ("small", "owners", "cost", "album")


def measure(parts: Sequence[str], *, tries: int, images: int, jobs: int) -> dict[str, Any]:
    """Return the report of these parts."""
    report: dict[str, Any] = {}
    if "small" in parts:
        with _valkey() as url:
            report["small"] = measure_small(url, tries, FleetSize())
            few = FleetSize(children=2, processes=1)
            report["small_with_two_children"] = measure_small(url, tries, few)
    if "owners" in parts:
        with _valkey() as url:
            report["owners"] = measure_owners(url, tries, FleetSize(), jobs=jobs)
    if "cost" in parts:
        with _valkey() as url:
            report["cost"] = measure_cost(url)
    if "album" in parts:
        with tempfile.TemporaryDirectory(prefix="fathom-fairness-", ignore_cleanup_errors=True) as folder:
            report["album"] = measure_album(Path(folder), images, tries)
    return report


@contextmanager
def _valkey() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="fathom-fairness-") as folder,
        ValkeyServer(Path(folder)) as server,
    ):
        yield server.url


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (all)")
    parser.add_argument("--tries", type=int, default=20, help="small jobs in each setting (20)")
    parser.add_argument("--images", type=int, default=100_000, help="images of the big album (100000)")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the other owner (1000)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    args = parser.parse_args(argv)
    report = measure(args.parts.split(","), tries=args.tries, images=args.images, jobs=args.jobs)
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
