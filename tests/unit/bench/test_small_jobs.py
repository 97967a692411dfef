"""How `bench.fairness` summarises its tries."""

from __future__ import annotations

import pytest

from bench.fairness.small_jobs import compare, percentile_95


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [([5.0], 5.0), ([2.0, 1.0], 2.0), ([float(n) for n in range(1, 21)], 19.0), ([1.0] * 99 + [9.0], 1.0)],
)
def test_the_percentile_is_one_of_the_values(seconds: list[float], wanted: float) -> None:
    assert percentile_95(seconds) == wanted


def test_the_ratio_compares_the_slow_tries_beside_a_big_job_with_the_median_alone() -> None:
    found = compare([1.0, 2.0, 3.0], [2.0] * 18 + [5.0, 90.0])

    assert found["alone_median_s"] == 2.0
    assert found["beside_p95_s"] == 5.0
    assert found["ratio_p95_to_alone_median"] == 2.5
    assert found["tries"] == 20
