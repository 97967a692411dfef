"""Measure one way of making heatmaps, in a process of its own: `bench.models` runs this.

    python -m bench.models.way midas_small f32 ALBUM OUT --rounds 3

Prints a `Measured` as JSON. All networks run on weights made by a formula.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.engine import warm_engine
from bench.peers.fathom_rows import OPTIONS
from fathom.options import Options
from shared.networks import NETWORKS
from shared.settings import Settings
from worker.model.weights import find_weights
from worker.pipeline.memory import bound_malloc, trim_heap
from worker.pipeline.pipeline import Pipeline

#: The authors' loop, and Fathom's pipeline by the precision of its network.
OFFICIAL = "official"
PRECISIONS = ("f32", "bf16")

#: Turns one file into another.
Work = Callable[[Path, Path], None]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a photo takes one way: the least of several rounds, on average over the photos."""

    cpu_ms: float
    wall_ms: float
    #: The highest resident memory while photos are processed.
    peak_mb: float
    #: The precision of the network; f32 where bf16 was asked of a CPU that has none.
    precision: str
    #: Fathom's processor time for a heatmap with the default options.
    plain_cpu_ms: float | None = None


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    photos = sorted(args.album.glob("*.jpg"))
    settings = settings_for(args.network, args.way)
    measure = _measure_official if args.way == OFFICIAL else _measure_fathom
    print(json.dumps(dataclasses.asdict(measure(settings, photos, args.out, args.rounds))))
    return 0


def settings_for(network: str, way: str) -> Settings:
    """Return the settings of the environment with this network, on weights made by a formula."""
    chosen = {"FATHOM_MODEL": network, "FATHOM_WEIGHTS": "random", "FATHOM_ENGINE": "openvino"}
    if way != OFFICIAL:
        chosen |= {"FATHOM_PRECISION": way}
    return Settings.from_environ({**os.environ, **chosen})


def _measure_official(settings: Settings, photos: Sequence[Path], out: Path, rounds: int) -> Measured:
    # Fathom's own processes never hold torch.
    from bench.models.official import OfficialLoop

    loop = OfficialLoop(find_weights(settings))
    cpu_ms, wall_ms, peak_mb = _time(loop.write_heatmap, photos, out, rounds)
    return Measured(cpu_ms=cpu_ms, wall_ms=wall_ms, peak_mb=peak_mb, precision="f32")


def _measure_fathom(settings: Settings, photos: Sequence[Path], out: Path, rounds: int) -> Measured:
    # As a worker does.
    bound_malloc()
    engine = warm_engine(settings)
    pipeline = Pipeline.from_settings(engine, settings)
    cpu_ms, wall_ms, peak_mb = _time(_rendering(pipeline, OPTIONS), photos, out, rounds)
    plain_cpu_ms, _, _ = _time(_rendering(pipeline, {}), photos, out, rounds)
    return Measured(
        cpu_ms=cpu_ms,
        wall_ms=wall_ms,
        peak_mb=peak_mb,
        precision=engine.info.precision,
        plain_cpu_ms=plain_cpu_ms,
    )


def _rendering(pipeline: Pipeline, options: dict[str, str]) -> Work:
    """Return what renders a photo and writes the heatmap and the sidecar."""
    parsed = Options.parse(options)

    def render(photo: Path, out: Path) -> None:
        for file in pipeline.render(photo.read_bytes(), parsed):
            out.with_name(f"{out.stem}.{file.file_name}").write_bytes(file.data)

    return render


def _time(work: Work, photos: Sequence[Path], out: Path, rounds: int) -> tuple[float, float, float]:
    """Return milliseconds of processor and wall time, and the peak in MB, after a round to warm up."""
    trim_heap()
    processes.reset_peak(os.getpid())
    cpu, wall = dict[Path, float](), dict[Path, float]()
    for number in range(rounds + 1):
        for photo in photos:
            cpu_began, wall_began = time.process_time(), time.perf_counter()
            work(photo, out / photo.name)
            spent = time.process_time() - cpu_began, time.perf_counter() - wall_began
            if number > 0:
                # Other programs can only add to it.
                cpu[photo] = min(spent[0], cpu.get(photo, spent[0]))
                wall[photo] = min(spent[1], wall.get(photo, spent[1]))
    peak_mb = processes.peak_mb(os.getpid())
    return 1000 * statistics.fmean(cpu.values()), 1000 * statistics.fmean(wall.values()), peak_mb


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.models.way", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("way", choices=(OFFICIAL, *PRECISIONS))
    parser.add_argument("album", type=Path, help="a folder of upright JPEGs")
    parser.add_argument("out", type=Path, help="the folder for heatmaps")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the warm-up (3)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
