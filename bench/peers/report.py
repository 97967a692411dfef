"""The comparison as JSON and as Markdown tables."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from bench import processes
from bench.peers.comparison import Cell
from bench.peers.rows import missing_packages

_PACKAGES = ("openvino", "onnxruntime", "torch", "transformers", "litserve")

_HEADS = (
    "on {cores}",
    "ms a photo",
    "CPU ms a photo",
    "photos/s",
    "start-up, s",
    "first result, s",
    "peak, MB",
    "off by",
    "Fathom is faster by",
)


def to_json(cells: Sequence[Cell], missing: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return everything measured, by class of photos, number of cores and row."""
    return {
        "machine": {
            "processor": processes.processor_name(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in _PACKAGES if not missing_packages([name])},
        "seconds": round(seconds),
        "cells": [_cell_to_json(cell, cells) for cell in cells],
        "missing": dict(missing),
    }


def times_faster(cell: Cell, cells: Sequence[Cell]) -> float | None:
    """Return how many times as fast Fathom's row was; None for Fathom's own, or if it is not known."""
    for other in cells:
        same = (other.size_class, other.cores) == (cell.size_class, cell.cores)
        if same and other.row.name == cell.row.rival:
            return cell.wall_ms * other.per_second / 1000 if other.per_second and cell.per_second else None
    return None


def to_markdown(cells: Sequence[Cell], missing: Mapping[str, str]) -> str:
    """Return a table for each class of photos and number of cores."""
    groups = dict.fromkeys((cell.size_class, cell.cores) for cell in cells)
    tables = [_table(size_class, cores, cells) for size_class, cores in groups]
    notes = [f"- {name}: {why}" for name, why in missing.items()]
    return "\n\n".join([*tables, *(["\n".join(notes)] if notes else [])])


def _table(size_class: str, cores: int, cells: Sequence[Cell]) -> str:
    heads = [head.format(cores="one core" if cores == 1 else f"{cores} cores") for head in _HEADS]
    lines = [f"### {size_class}", "", _line(heads), "|---|" + "--:|" * (len(heads) - 1)]
    chosen = [cell for cell in cells if (cell.size_class, cell.cores) == (size_class, cores)]
    return "\n".join([*lines, *(_line(_words(cell, cells)) for cell in chosen)])


def _words(cell: Cell, cells: Sequence[Cell]) -> list[str]:
    faster = times_faster(cell, cells)
    return [
        cell.row.title,
        f"{cell.wall_ms:.1f}",
        f"{cell.cpu_ms:.1f}",
        "too fast" if cell.per_second is None else f"{cell.per_second:.2f}",
        f"{cell.start_up_s:.2f}",
        f"{cell.first_result_s:.2f}",
        f"{cell.peak_mb:.0f}",
        "other network" if cell.off_by is None else f"{cell.off_by:.2f}",
        "" if faster is None else f"{faster:.2f}",
    ]


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _cell_to_json(cell: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    faster = times_faster(cell, cells)
    numbers = {key: value for key, value in dataclasses.asdict(cell).items() if key != "row"}
    return {
        "row": cell.row.name,
        **{key: round(value, 3) if isinstance(value, float) else value for key, value in numbers.items()},
        "photos_per_second": cell.per_second and round(cell.per_second, 3),
        "fathom_row": cell.row.rival,
        "fathom_times_faster": faster and round(faster, 3),
    }
