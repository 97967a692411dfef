from __future__ import annotations

import pytest

from bench.memory import summarise


def test_steady_growth_is_reported_per_hundred_photos():
    report = summarise([400 + 2 * job for job in range(20)], [400.0], 16)

    assert report["photos"] == 320
    assert report["slope_mb_per_100_photos"] == pytest.approx(12.5)


def test_memory_for_the_first_shapes_does_not_count_as_growth():
    report = summarise([350.0, 380.0, *[400.0] * 8], [400.0], 16)

    assert report["slope_mb_per_100_photos"] == pytest.approx(0, abs=1e-6)


def test_a_short_peak_shows_only_in_the_highest_percentile():
    report = summarise([400.0], [*[410.0] * 98, 500.0, 500.0], 16)

    assert (report["median_mb"], report["percentile_99_mb"]) == (410, 500)
