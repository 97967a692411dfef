from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training import photographs
from training.metrics import centre_is_nearer, lower_is_nearer, pair_error
from training.photographs import load_labelled, load_measured, read_picture

#: The entries of labels.json, by the names of the photographs.
Entries = dict[str, dict[str, Any]]


@pytest.fixture
def entries() -> Entries:
    entries: Entries = json.loads(Path(photographs.__file__).with_name("labels.json").read_text())
    return entries


def in_test_split(entries: Entries) -> list[dict[str, Any]]:
    return [entry for entry in entries.values() if entry["split"] == "test"]


def test_at_least_twenty_photographs_are_in_the_test_split_with_six_pairs_each(entries: Entries) -> None:
    assert len(in_test_split(entries)) >= 20
    assert min(len(entry["pairs"]) for entry in in_test_split(entries)) >= 6


@pytest.mark.parametrize(
    ("baseline", "low", "high"), [(lower_is_nearer, 0.45, 0.55), (centre_is_nearer, 0.35, 1.0)]
)
def test_baselines_get_many_of_the_labelled_pairs_wrong(
    entries: Entries, baseline: Callable[[int, int], NDArray[np.float32]], low: float, high: float
) -> None:
    pairs = [(tuple(near), tuple(far)) for entry in in_test_split(entries) for near, far in entry["pairs"]]

    assert low <= pair_error(baseline(500, 500), pairs) <= high


def test_all_points_are_inside_the_picture(entries: Entries) -> None:
    points = np.array([point for entry in entries.values() for pair in entry["pairs"] for point in pair])

    assert points.min() >= 0
    assert points.max() < 1


def test_no_photograph_is_used_twice(entries: Entries) -> None:
    places = [(entry["package"], entry["path"]) for entry in entries.values()]

    assert len(set(places)) == len(places)


def test_photographs_missing_on_this_machine_are_left_out(tmp_path: Path) -> None:
    found = load_labelled(tmp_path, "test")

    assert all(item.path.exists() for item in found)
    assert {len(item.pairs) > 5 for item in found} <= {True}


def test_measured_disparity_is_finite_and_zero_where_unknown(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="needs the `training` extra")
    motorcycle = next(item for item in load_measured(tmp_path) if item.name == "motorcycle")

    assert motorcycle.disparity.shape == motorcycle.image.shape[:2]
    assert np.isfinite(motorcycle.disparity).all()
    assert 0 < (motorcycle.disparity == 0).mean() < 0.5


def test_a_missing_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.jpg")
