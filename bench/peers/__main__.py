"""Fathom against what else a person could run, in one run, on one core and on all.

    python -m bench.peers --out DIR

The same JPEGs become JPEG heatmaps of their own size. Every way runs twice, on a short album and on a long
one; what they differ by gives the wall and processor time per photo, without what each run takes
besides. Memory is the sum over all processes, shared pages counted once; what a server takes
counts too. Each heatmap is compared with Fathom's. Rows whose packages are missing (`pip install -e
'.[bench]'`) are left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from bench.album import CLASSES
from bench.peers.comparison import Comparison, Plan
from bench.peers.report import to_json, to_markdown
from bench.peers.rows import ROWS
from shared.settings import Settings
from worker.model.graph import export_model


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    plan = Plan(
        rows=[row for row in ROWS if row.name in args.only],
        size_classes=args.sizes,
        core_sets=_core_sets(args.cores),
        seconds=args.seconds,
        photos=args.photos,
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fathom-bench-") as folder:
        comparison = _compare(plan, Path(folder))
    report = to_json(comparison.cells, comparison.missing, time.perf_counter() - began)
    table = to_markdown(comparison.cells, comparison.missing)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "peers.json").write_text(json.dumps(report, indent=2) + "\n")
        (args.out / "peers.md").write_text(table + "\n")
    print(json.dumps(report, indent=2) if args.json else table)
    return 1 if any(why.startswith("failed") for why in comparison.missing.values()) else 0


def _compare(plan: Plan, folder: Path) -> Comparison:
    settings, model = Settings.from_environ(), folder / "network.onnx"
    export_model(settings.weights, settings.cache_dir, "onnx", model)
    say = partial(print, file=sys.stderr)
    comparison = Comparison(plan, folder, model=model, settings=settings, say=say)
    comparison.run()
    return comparison


def _core_sets(chosen: Sequence[str]) -> list[tuple[int, ...]]:
    cores = tuple(sorted(os.sched_getaffinity(0)))
    sets = {"one": cores[-1:], "all": cores}
    # On a machine of one core the two are the same.
    return list(dict.fromkeys(sets[name] for name in chosen))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [row.name for row in ROWS]
    parser.add_argument("--only", type=_list_of(names), default=names, help=f"rows, of {','.join(names)}")
    parser.add_argument("--sizes", type=_list_of(CLASSES), default=list(CLASSES), help="12mp,3mp,vga")
    parser.add_argument("--cores", type=_list_of(("one", "all")), default=["one", "all"], help="one,all")
    parser.add_argument(
        "--seconds", type=float, default=2.5, help="by which the long album takes longer, roughly (2.5)"
    )
    parser.add_argument("--photos", type=int, help="by which it is longer, instead of --seconds")
    parser.add_argument("--out", type=Path, help="a folder for peers.json and peers.md")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser.parse_args(argv)


def _list_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what reads names separated by commas, each of the known ones."""

    def read(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{sorted(unknown)[0]} is not one of {', '.join(known)}")
        return text.split(",")

    return read


if __name__ == "__main__":
    sys.exit(main())
