"""What `bench.models` measured, as JSON, text and the table of docs/performance.md."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from bench import processes
from bench.models.way import OFFICIAL, PRECISIONS, Measured
from shared.networks import MIDAS_SMALL

#: By network and way.
Results = Mapping[str, Mapping[str, Measured]]

#: How many times as fast as the authors' loop Fathom is to be, in f32 (processor time, 12 megapixels).
GOAL = 1.8

_HEADS = (
    "network",
    *("PyTorch, ms", "f32, ms", "times faster", "bf16, ms", "times faster"),
    *("memory, MB: PyTorch", "f32", "bf16"),
    *("cost of an image, f32", "bf16"),
)


def to_json(
    results: Results, missing: Mapping[str, str], *, photos: int, megapixels: float, rounds: int
) -> dict[str, Any]:
    """Return everything measured, with ratios; `missing` says why a way was not."""
    return {
        "machine": {"processor": processes.processor_name(), "python": platform.python_version(), "cores": 1},
        "weights": "random",
        "photos": photos,
        "megapixels": round(megapixels, 2),
        "rounds": rounds,
        "networks": {name: _network_to_json(name, results) for name in results},
        "missing": dict(missing),
    }


def _network_to_json(name: str, results: Results) -> dict[str, Any]:
    ways = results[name]
    faster = {way: _ratio(ways.get(OFFICIAL), ways[way]) for way in PRECISIONS if way in ways}
    f32 = faster.get("f32")
    return {
        "ways": {way: _rounded(measured) for way, measured in ways.items()},
        "times_faster": faster,
        "reached": None if f32 is None else f32 >= GOAL,
        "cost": {way: cost(name, way, results) for way in PRECISIONS if way in ways},
    }


def _ratio(official: Measured | None, fathom: Measured) -> float | None:
    return None if official is None else round(official.cpu_ms / fathom.cpu_ms, 2)


def cost(name: str, way: str, results: Results) -> float | None:
    """Return how many times the processor time of the default network's a plain heatmap takes.

    None if the default network was not measured in that precision.
    """
    own, default = results[name][way].plain_cpu_ms, results.get(MIDAS_SMALL.name, {}).get(way)
    if own is None or default is None or default.plain_cpu_ms is None:
        return None
    return round(own / default.plain_cpu_ms, 2)


def _rounded(measured: Measured) -> dict[str, Any]:
    numbers = dataclasses.asdict(measured)
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in numbers.items()}


def to_text(report: Mapping[str, Any]) -> str:
    """Return the report of `to_json` as lines."""
    lines = [
        f"{report['machine']['processor']}, one core, {report['weights']} weights, "
        f"{report['photos']} photos of {report['megapixels']} megapixels, times per photo"
    ]
    for name, network in report["networks"].items():
        lines.append(f"\n{name}")
        lines += [_way_line(way, network) for way in network["ways"]]
    return "\n".join([*lines, *_reasons(report)])


def _way_line(way: str, network: Mapping[str, Any]) -> str:
    measured, faster = network["ways"][way], network["times_faster"].get(way)
    ratio = "" if faster is None else f"  x{faster}"
    costs = network["cost"].get(way)
    note = "" if costs is None else f"  cost {costs}"
    return (
        f"{way:9} {measured['cpu_ms']:9} ms CPU {measured['wall_ms']:9} ms wall {measured['peak_mb']:7} MB"
        f"{ratio}{note}"
    )


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report of `to_json` as the table of docs/performance.md, in processor time."""
    lines = [_row(_HEADS), "|---" + "|--:" * (len(_HEADS) - 1) + "|"]
    lines += [_row(_words(name, network)) for name, network in report["networks"].items()]
    return "\n".join([*lines, *_reasons(report)])


def _words(name: str, network: Mapping[str, Any]) -> list[str]:
    ways, faster, costs = network["ways"], network["times_faster"], network["cost"]
    times = [_word(ways.get(OFFICIAL), "cpu_ms")]
    for way in PRECISIONS:
        times += [_word(ways.get(way), "cpu_ms"), _word(faster, way)]
    memory = [_word(ways.get(way), "peak_mb", digits=0) for way in (OFFICIAL, *PRECISIONS)]
    return [f"`{name}`", *times, *memory, *(_word(costs, way, digits=1) for way in PRECISIONS)]


def _word(numbers: Mapping[str, Any] | None, key: str, *, digits: int | None = None) -> str:
    """Return a number for the table; nothing where there is none."""
    value = None if numbers is None else numbers.get(key)
    if value is None:
        return ""
    return f"{value}" if digits is None else f"{value:.{digits}f}"


def _row(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def _reasons(report: Mapping[str, Any]) -> list[str]:
    return ["", *(f"- {name}: {why}" for name, why in report["missing"].items())] if report["missing"] else []
