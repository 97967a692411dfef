"""Compare the pipeline with the usual loop on one core, in one run.

    python -m bench.pipeline --album DIR --json

The baseline (`bench.baseline`) and each variant of the pipeline take turns, so that a machine
whose speed drifts affects all of them alike. Input and output are JPEG, with the same weights. The
numbers are medians over rounds of the mean per photo, for each size class. Without `--album`,
photos are made (`bench.album`).
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import processes
from bench.album import AlbumPhoto, make_album
from bench.baseline import Baseline, Stages
from bench.engine import warm_engine
from bench.one_core import stay_on_one_core
from fathom.options import Options
from fathom.photos.discovery import find_photos
from shared.settings import Settings
from worker.model.weights import resolve_weights
from worker.pipeline.pipeline import Pipeline

#: Lossless; its palette indices are the grey levels to compare. The script's edges are smooth.
PNG_OUT = Options.parse({"edges": "smooth"})

#: Variants by name: precision, decoding and edges. What `snap` makes, the script does not.
VARIANTS = {
    "f32_exact": ("f32", "exact", "smooth"),
    "f32": ("f32", "fast", "smooth"),
    "bf16": ("bf16", "fast", "smooth"),
    "bf16_snap": ("bf16", "fast", "snap"),
}


@dataclass
class Timings:
    """The timings of one variant: seconds per photo and per stage, one entry per round."""

    rounds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def add(self, seconds: float, stages: dict[str, float], photos: int) -> None:
        self.rounds.append(seconds / photos)
        for name, spent in stages.items():
            self.stages.setdefault(name, []).append(spent / photos)

    def summary(self) -> dict[str, Any]:
        return {
            "ms": _ms(self.rounds),
            "stages_ms": {name: _ms(spent) for name, spent in self.stages.items()},
        }


#: Size classes with their fewest megapixels, the largest first.
CLASSES = {"12mp": 8.0, "3mp": 1.0, "vga": 0.0}


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    stay_on_one_core("bench.pipeline")
    photos = list(make_album(args.photos) if args.album is None else _read_album(args.album))
    if not photos:
        sys.exit(f"There is no JPEG photo in {args.album}.")
    report = measure(photos, Settings.from_environ(), rounds=args.rounds)
    print(json.dumps(report, indent=2) if args.json else _table(report))
    return 0


def measure(photos: Sequence[AlbumPhoto], settings: Settings, *, rounds: int) -> dict[str, Any]:
    """Run every photo through every variant `rounds` times, after one warm-up round."""
    weights = resolve_weights(settings.weights, settings.cache_dir)
    baseline = Baseline(weights)
    pipelines = {
        name: _pipeline(settings, precision, decode) for name, (precision, decode, _) in VARIANTS.items()
    }
    by_class = {name: [photo for photo in photos if photo.size_class == name] for name in CLASSES}
    return {
        "machine": {
            "processor": processes.processor_name(),
            "python": platform.python_version(),
            "cores": 1,
        },
        "weights": weights.name,
        "classes": {
            name: _measure_class(chosen, baseline, pipelines, rounds)
            for name, chosen in by_class.items()
            if chosen
        },
    }


def _measure_class(
    photos: Sequence[AlbumPhoto], baseline: Baseline, pipelines: dict[str, Pipeline], rounds: int
) -> dict[str, Any]:
    series = {name: Timings() for name in ("baseline", *pipelines)}
    for number in range(rounds + 1):
        timed = {"baseline": _time_baseline(baseline, photos)}
        timed |= {name: _time_pipeline(pipeline, photos, name) for name, pipeline in pipelines.items()}
        if number > 0:
            for name, (seconds, stages) in timed.items():
                series[name].add(seconds, stages, len(photos))
    return _report(photos, series, _fidelity(photos, baseline, pipelines))


def _read_album(folder: Path) -> Iterator[AlbumPhoto]:
    """Yield the JPEGs of a folder with their size classes."""
    for path, name in find_photos([folder]).photos:
        with Image.open(path) as image:
            megapixels = image.width * image.height / 1e6
            if image.format == "JPEG":
                size_class = next(key for key, least in CLASSES.items() if megapixels >= least)
                yield AlbumPhoto(name=name, size_class=size_class, data=path.read_bytes())


def _pipeline(settings: Settings, precision: str, decode: str) -> Pipeline:
    chosen = dataclasses.replace(settings, engine="openvino", precision=precision, decode=decode)
    return Pipeline.from_settings(warm_engine(chosen), chosen)


def _time_baseline(baseline: Baseline, photos: Sequence[AlbumPhoto]) -> tuple[float, dict[str, float]]:
    stages = Stages()
    return _timed(lambda: [baseline.heatmap(photo.data, stages) for photo in photos]), stages.seconds


def _time_pipeline(
    pipeline: Pipeline, photos: Sequence[AlbumPhoto], variant: str
) -> tuple[float, dict[str, float]]:
    options = Options.parse({"heatmap_format": "jpeg", "edges": VARIANTS[variant][2]})
    spent: dict[str, float] = {}

    def run() -> None:
        for photo in photos:
            pipeline.render(photo.data, options)
            for stage, seconds in pipeline.seconds.items():
                spent[str(stage)] = spent.get(str(stage), 0.0) + seconds

    return _timed(run), spent


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _fidelity(
    photos: Sequence[AlbumPhoto], baseline: Baseline, pipelines: dict[str, Pipeline]
) -> dict[str, dict[str, float]]:
    """Return how far the grey levels (0 to 255) are from the baseline: the mean, and of the worst photo."""
    alike = {name: pipeline for name, pipeline in pipelines.items() if VARIANTS[name][2] == "smooth"}
    distances: dict[str, list[float]] = {name: [] for name in alike}
    for photo in photos:
        _, expected = baseline.heatmap(photo.data, Stages())
        for name, pipeline in alike.items():
            grey = _grey(pipeline.render(photo.data, PNG_OUT)[0].data)
            distances[name].append(float(np.abs(grey.astype(np.int16) - expected).mean()))
    return {
        name: {"mean": round(statistics.fmean(values), 3), "worst_photo": round(max(values), 3)}
        for name, values in distances.items()
    }


def _grey(png: bytes) -> NDArray[np.uint8]:
    """Return the palette indices of a heatmap: the grey levels before colouring."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def _report(
    photos: Sequence[AlbumPhoto], series: dict[str, Timings], fidelity: dict[str, dict[str, float]]
) -> dict[str, Any]:
    base = statistics.median(series["baseline"].rounds)
    return {
        "photos": len(photos),
        "megabytes": round(sum(len(photo.data) for photo in photos) / 1e6, 2),
        "ways": {name: one.summary() for name, one in series.items()},
        "times_faster": {
            name: round(base / statistics.median(one.rounds), 2)
            for name, one in series.items()
            if name != "baseline"
        },
        "grey_levels_from_baseline": fidelity,
    }


def _ms(seconds: Sequence[float]) -> float:
    return round(1000 * statistics.median(seconds), 1)


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']['processor']}, one core, {report['weights']} weights, ms a photo"]
    for size_class, measured in report["classes"].items():
        lines.append(f"\n{size_class}: {measured['photos']} photos, {measured['megabytes']} MB")
        lines += [_row(name, measured) for name in measured["ways"]]
    return "\n".join(lines)


def _row(name: str, measured: dict[str, Any]) -> str:
    way = measured["ways"][name]
    faster = measured["times_faster"].get(name, 1.0)
    off = measured["grey_levels_from_baseline"].get(name, {}).get("mean", "-")
    stages = "  ".join(f"{stage} {ms}" for stage, ms in way["stages_ms"].items())
    return f"{name:10} {way['ms']:7}  x{faster:<5} off by {off:<6} {stages}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--album", type=Path, help="a folder of JPEGs (made from the samples)")
    parser.add_argument("--photos", type=int, default=6, help="photos of each class, without --album (6)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
