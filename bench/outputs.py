"""Measure what each output costs beside the plain heatmap, in one process on one core.

    python -m bench.outputs --json

Every output is rendered alone, with its default options. All of them take turns, so that a machine whose
speed drifts affects all alike. The time of a photo is the least CPU time of its rounds: other programs can
only add to it. Memory is the peak of the process while the output is made, beyond that of the heatmap.
Outputs without a maker are named in the report.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench import processes
from bench.album import CLASSES, AlbumPhoto, make_album
from bench.engine import warm_engine
from bench.one_core import stay_on_one_core
from fathom.options import Options, Output
from fathom.result_names import output_files
from shared.settings import Settings
from worker.model.engine import InferenceEngine
from worker.pipeline.memory import bound_malloc, trim_heap
from worker.pipeline.outputs.catalogue import made_results
from worker.pipeline.pipeline import Pipeline

#: How many times as much CPU time as the heatmap an output may take for a photo of 12 megapixels.
GOALS: Mapping[Output, float] = {
    Output.EXR: 1.5,
    Output.NORMALS: 1.5,
    Output.CONTROLNET: 1.5,
    Output.EMBEDDED: 1.5,
    Output.STEREO: 3.0,
    Output.MESH: 2.5,
    Output.CLOUD: 2.5,
    Output.LAYERS: 5.0,
    Output.REFOCUS: 5.0,
}

#: The class that the goals are for, and the memory that an output may take there beyond the heatmap, in MB.
_GOAL_CLASS, _GOAL_MB = "12mp", 500


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    stay_on_one_core("bench.outputs")
    bound_malloc()
    settings = dataclasses.replace(Settings.from_environ(), engine="openvino", precision=args.precision)
    photos = list(make_album(args.photos, classes=args.classes.split(",")))
    report = measure(photos, warm_engine(settings), settings, rounds=args.rounds)
    print(json.dumps(report, indent=2) if args.json else to_table(report))
    return 0


def measure(
    photos: Sequence[AlbumPhoto], engine: InferenceEngine, settings: Settings, *, rounds: int
) -> dict[str, Any]:
    """Render every photo to every output `rounds` times, after one to warm up."""
    made, missing = catalogued()
    classes = dict.fromkeys(photo.size_class for photo in photos)
    chosen = {name: [photo for photo in photos if photo.size_class == name] for name in classes}
    return {
        "machine": {"processor": processes.processor_name(), "python": platform.python_version(), "cores": 1},
        "weights": engine.info.weights,
        "precision": engine.info.precision,
        "not_made": [str(output) for output in missing],
        "classes": {
            name: _measure_class(name, ours, made, engine, settings, rounds) for name, ours in chosen.items()
        },
    }


def catalogued() -> tuple[list[Output], list[Output]]:
    """Return the outputs that can be made, the heatmap first, and those that cannot."""
    results = {output: set(output_files(_alone(output))) - {"depth"} for output in Output}
    made = [output for output in Output if results[output] <= made_results()]
    return made, [output for output in Output if output not in made]


def _alone(output: Output) -> Options:
    return Options.parse({"outputs": [output]})


def _measure_class(
    name: str,
    photos: Sequence[AlbumPhoto],
    outputs: Sequence[Output],
    engine: InferenceEngine,
    settings: Settings,
    rounds: int,
) -> dict[str, Any]:
    seconds = _cpu_seconds(photos, outputs, Pipeline.from_settings(engine, settings), rounds)
    peaks = {output: _peak_mb(photos, output, Pipeline.from_settings(engine, settings)) for output in outputs}
    rows = {str(output): _row(output, seconds, peaks) for output in outputs}
    if name == _GOAL_CLASS:
        for output, goal in GOALS.items():
            if output in outputs:
                rows[output] |= {"goal_times": goal, "reached": _is_reached(rows[output], goal)}
    return {"photos": len(photos), "outputs": rows}


def _cpu_seconds(
    photos: Sequence[AlbumPhoto], outputs: Sequence[Output], pipeline: Pipeline, rounds: int
) -> dict[Output, float]:
    """Return the CPU seconds of each output per photo."""
    least: dict[tuple[Output, int], float] = {}
    for number in range(rounds + 1):
        for index, photo in enumerate(photos):
            for output in outputs:
                spent = _cpu_time(pipeline, photo, output)
                if number > 0:
                    least[output, index] = min(spent, least.get((output, index), spent))
    return {
        output: statistics.fmean(least[output, index] for index in range(len(photos))) for output in outputs
    }


def _cpu_time(pipeline: Pipeline, photo: AlbumPhoto, output: Output) -> float:
    began = time.process_time()
    pipeline.render(photo.data, _alone(output))
    return time.process_time() - began


def _peak_mb(photos: Sequence[AlbumPhoto], output: Output, pipeline: Pipeline) -> float:
    """Return the peak memory of this process while it makes an output, with a pipeline of no buffers yet."""
    trim_heap()
    processes.reset_peak(os.getpid())
    for photo in photos:
        pipeline.render(photo.data, _alone(output))
    return processes.peak_mb(os.getpid())


def _row(output: Output, seconds: Mapping[Output, float], peaks: Mapping[Output, float]) -> dict[str, Any]:
    return {
        "cpu_ms": round(1000 * seconds[output], 1),
        "times_heatmap": round(seconds[output] / seconds[Output.HEATMAP], 2),
        "peak_mb_above": round(peaks[output] - peaks[Output.HEATMAP]),
    }


def _is_reached(row: Mapping[str, Any], goal: float) -> bool:
    return bool(row["times_heatmap"] <= goal and row["peak_mb_above"] <= _GOAL_MB)


def to_table(report: Mapping[str, Any]) -> str:
    """Return the report as text."""
    machine = f"{report['machine']['processor']}, one core"
    lines = [f"{machine}, {report['weights']} weights, {report['precision']}"]
    for name, measured in report["classes"].items():
        lines.append(f"\n{name}: {measured['photos']} photos")
        lines += [_line(output, row) for output, row in measured["outputs"].items()]
    if report["not_made"]:
        lines.append(f"\nnot made by this version: {', '.join(report['not_made'])}")
    return "\n".join(lines)


def _line(output: str, row: Mapping[str, Any]) -> str:
    goal = ""
    if "goal_times" in row:
        goal = f"  goal x{row['goal_times']:g}, {_GOAL_MB} MB: {'reached' if row['reached'] else 'missed'}"
    return f"{output:12} {row['cpu_ms']:8} ms  x{row['times_heatmap']:<6} {row['peak_mb_above']:+5} MB{goal}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.outputs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=int, default=3, help="photos of each class (3)")
    parser.add_argument("--classes", default=",".join(CLASSES), help="classes of sizes (all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the warm-up (3)")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"), help="of the network (f32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
