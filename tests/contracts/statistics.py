"""The contract of every store of statistics."""

from __future__ import annotations

from typing import Any

import pytest

from shared.metrics.buffer import MetricsBuffer
from shared.metrics.model import BOUNDS, Family, MetricsBatch, Series
from shared.metrics.port import Statistics

INFER = Series(family=Family.STAGE, labels=("infer",))
LIST = Series(family=Family.REQUEST, labels=("/v1/jobs", "GET", "200"))


def batch(id: str, **changes: Any) -> MetricsBatch:
    fields: dict[str, Any] = {
        "counts": {(INFER, 2): 3},
        "microseconds": {INFER: 60_000},
        "images": {"host:1": 3},
    }
    return MetricsBatch(id=id, **(fields | changes))


class StatisticsContract:
    """The contract. A subclass provides the fixture `statistics`."""

    def test_new_statistics_are_empty(self, statistics: Statistics):
        summary = statistics.read(["host:1"])

        assert summary.histograms == {}
        assert summary.images == {"host:1": 0}

    def test_batches_add_up(self, statistics: Statistics):
        statistics.add(batch("one"))
        statistics.add(batch("two", counts={(INFER, 2): 1, (INFER, len(BOUNDS)): 5, (LIST, 0): 7}))
        summary = statistics.read(["host:1"])

        assert summary.histograms[INFER].counts == (0, 0, 4, *[0] * (len(BOUNDS) - 3), 5)
        assert summary.histograms[INFER].seconds == pytest.approx(0.12)
        assert summary.histograms[LIST].counts[0] == 7
        assert summary.images == {"host:1": 6}

    def test_a_batch_sent_twice_counts_once(self, statistics: Statistics):
        statistics.add(batch("one"))
        statistics.add(batch("one"))

        assert statistics.read(["host:1"]).histograms[INFER].cumulative()[-1] == 3
        assert statistics.read(["host:1"]).images == {"host:1": 3}

    def test_only_the_requested_workers_are_named(self, statistics: Statistics):
        statistics.add(batch("one", images={"host:1": 3, "host:2": 4}))

        assert statistics.read(["host:2", "host:3"]).images == {"host:2": 4, "host:3": 0}
        assert statistics.read([]).images == {}

    def test_a_metrics_buffer_sends_what_it_measured(self, statistics: Statistics):
        metrics_buffer = MetricsBuffer(statistics)
        metrics_buffer.observe(Family.STAGE, "infer", seconds=0.02)
        metrics_buffer.observe(Family.STAGE, "infer", seconds=0.002)
        metrics_buffer.count_image("host:1")
        metrics_buffer.flush()
        metrics_buffer.flush()
        summary = statistics.read(["host:1"])

        assert summary.histograms[INFER].counts[:3] == (1, 0, 1)
        assert summary.histograms[INFER].seconds == pytest.approx(0.022)
        assert summary.images == {"host:1": 1}
