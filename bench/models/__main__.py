"""Fathom's pipeline against the authors' own PyTorch loop, network by network, on one core.

    python -m bench.models --networks midas_small dpt_hybrid --precision f32 bf16 --markdown

Every way of every network runs in a process of its own, with one thread on the same core, over the same
photos of 12 megapixels: the authors' loop in PyTorch's eager mode (`bench.models.official`), and the
pipeline of `fathom run` on OpenVINO in each precision. Weights are made by a formula, since only speed is
measured. The times of a photo are the least of its rounds, after one to warm up. The cost of an image is
the processor time of a heatmap with default options, in relation to the default network's in the same
precision.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from bench.album import make_album
from bench.models.report import to_json, to_markdown, to_text
from bench.models.way import OFFICIAL, PRECISIONS, Measured, settings_for
from bench.peers.measure import pinned
from shared.errors import FathomError
from shared.networks import NETWORKS
from worker.model.engines import prepare_engine


class WayFailed(Exception):
    """A way could not be measured; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    results: dict[str, dict[str, Measured]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fathom-bench-") as folder:
        album = args.album or _make_album(Path(folder, "album"), args.photos)
        sizes = list(_megapixels(album))
        if not sizes:
            sys.exit(f"There is no .jpg in {album}.")
        for network in args.networks:
            for way in (OFFICIAL, *args.precision):
                print(f"{network}, {way}", file=sys.stderr)
                try:
                    measured = run_way(network, way, album, Path(folder, "out"), args.rounds)
                    results.setdefault(network, {})[way] = measured
                except WayFailed as exc:
                    missing[f"{network}, {way}"] = str(exc)
    report = to_json(
        results, missing, photos=len(sizes), megapixels=statistics.fmean(sizes), rounds=args.rounds
    )
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "models.json").write_text(json.dumps(report, indent=2) + "\n")
        (args.out / "models.md").write_text(to_markdown(report) + "\n")
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print(to_markdown(report) if args.markdown else to_text(report))
    return 1 if missing else 0


def run_way(network: str, way: str, album: Path, out: Path, rounds: int) -> Measured:
    """Measure one way on one core. Raises WayFailed."""
    if way != OFFICIAL:
        _prepare(network, way)
    command = [sys.executable, "-m", "bench.models.way", network, way, str(album), str(out)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with pinned({max(os.sched_getaffinity(0))}):
        process = subprocess.Popen(
            [*command, "--rounds", str(rounds)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    printed, said = process.communicate()
    if process.returncode != 0:
        raise WayFailed((said.strip().splitlines() or [f"it ended with status {process.returncode}"])[-1])
    measured = Measured(**json.loads(printed))
    if way in PRECISIONS and measured.precision != way:
        raise WayFailed(f"this CPU has no {way}")
    return measured


def _prepare(network: str, way: str) -> None:
    """Export and compile the network beforehand, on any core: that takes minutes for the largest."""
    try:
        prepare_engine(settings_for(network, way))
    except FathomError as exc:
        raise WayFailed(exc.message) from exc


def _make_album(folder: Path, photos: int) -> Path:
    folder.mkdir()
    for number, photo in enumerate(make_album(photos, classes=("12mp",))):
        (folder / f"{number:03}.jpg").write_bytes(photo.data)
    return folder


def _megapixels(album: Path) -> Iterator[float]:
    for path in sorted(album.glob("*.jpg")):
        with Image.open(path) as image:
            yield image.width * image.height / 1e6


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [*NETWORKS]
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME", help="(all)")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="(both)")
    parser.add_argument("--photos", type=int, default=3, help="photos, without --album (3)")
    parser.add_argument("--album", type=Path, help="a folder of upright .jpg files (made from the samples)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the warm-up (3)")
    parser.add_argument("--out", type=Path, help="a folder for models.json and models.md")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON")
    shown.add_argument("--markdown", action="store_true", help="print the table of docs/performance.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
