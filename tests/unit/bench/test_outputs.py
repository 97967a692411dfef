"""The costs of outputs, measured on small photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.album import AlbumPhoto, encode, make_photo
from bench.outputs import GOALS, catalogued, measure, to_table
from fathom.options import Output
from shared.settings import Settings
from tests.fakes_engine import LuminanceEngine


def small_photo(size_class: str, height: int, width: int) -> AlbumPhoto:
    random = np.random.default_rng(1)
    sample = random.integers(0, 256, (12, 16, 3), np.uint8)
    data = encode(make_photo(sample, height, width, random), "JPEG")
    return AlbumPhoto(name=f"{size_class}.jpg", size_class=size_class, data=data)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    photos = [small_photo("12mp", 48, 64), small_photo("vga", 40, 32)]
    return measure(photos, LuminanceEngine(), Settings.from_environ({}), rounds=1)


def test_every_output_is_measured_or_named_as_not_made(report: dict[str, Any]):
    assert list(report["classes"]) == ["12mp", "vga"]
    for measured in report["classes"].values():
        assert {*measured["outputs"], *report["not_made"]} == set(Output)
        assert not set(measured["outputs"]).intersection(report["not_made"])


def test_costs_are_in_relation_to_the_heatmap(report: dict[str, Any]):
    rows = report["classes"]["12mp"]["outputs"]

    assert report["classes"]["12mp"]["photos"] == 1
    assert (rows["heatmap"]["times_heatmap"], rows["heatmap"]["peak_mb_above"]) == (1.0, 0)
    assert all(row["cpu_ms"] > 0 for row in rows.values())


def test_goals_are_judged_for_large_photos_only(report: dict[str, Any]):
    judged = {name for name, row in report["classes"]["12mp"]["outputs"].items() if "reached" in row}

    assert judged == set(GOALS) - set(report["not_made"])
    assert not any("reached" in row for row in report["classes"]["vga"]["outputs"].values())


def test_the_table_names_every_output(report: dict[str, Any]):
    table = to_table(report)

    assert [output for output in Output if str(output) not in table] == []


def test_an_output_is_made_if_all_of_its_results_are():
    made, missing = catalogued()

    assert made[0] is Output.HEATMAP
    assert Output.REFOCUS in made
    assert sorted([*made, *missing]) == sorted(Output)
