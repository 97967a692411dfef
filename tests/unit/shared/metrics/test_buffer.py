from __future__ import annotations

import threading

import pytest

from shared.metrics.buffer import MetricsBuffer
from shared.metrics.model import BOUNDS, Family, Histogram, MetricsBatch, Series, bucket_of
from tests.contracts.statistics import StatisticsContract
from tests.fakes import FakeStatistics
from tests.waiting import eventually

INFER = Series(family=Family.STAGE, labels=("infer",))


@pytest.fixture
def statistics() -> FakeStatistics:
    return FakeStatistics()


class TestFakeStatistics(StatisticsContract):
    """The fake fulfils the contract, so unit tests may rely on it."""


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.005, 0), (0.0051, 1), (60.0, len(BOUNDS) - 1), (61.0, len(BOUNDS))]
)
def test_a_bucket_includes_its_upper_end(seconds: float, bucket: int):
    assert bucket_of(seconds) == bucket


def test_the_last_cumulative_count_is_the_total():
    counts = tuple(range(len(BOUNDS) + 1))

    assert Histogram(counts=counts).cumulative()[-1] == sum(counts)


def test_a_batch_that_cannot_be_sent_is_sent_later(statistics: FakeStatistics):
    metrics_buffer = MetricsBuffer(statistics)
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    statistics.away = True
    metrics_buffer.flush()
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    metrics_buffer.flush()
    statistics.away = False
    metrics_buffer.flush()

    assert statistics.read([]).histograms[INFER].cumulative()[-1] == 2


def test_a_lost_response_counts_nothing_twice(statistics: FakeStatistics):
    class Deaf(FakeStatistics):
        def add(self, batch: MetricsBatch) -> None:
            statistics.add(batch)
            self._reach()

    deaf = Deaf()
    deaf.away = True
    metrics_buffer = MetricsBuffer(deaf)
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    for _ in range(3):
        metrics_buffer.flush()
    deaf.away = False
    metrics_buffer.flush()

    assert statistics.read([]).histograms[INFER].cumulative()[-1] == 1


def test_nothing_is_sent_when_nothing_was_measured(statistics: FakeStatistics):
    MetricsBuffer(statistics).flush()

    assert statistics.batches == {}


def test_many_threads_lose_nothing(statistics: FakeStatistics):
    metrics_buffer = MetricsBuffer(statistics)

    def measure() -> None:
        for _ in range(500):
            metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
            metrics_buffer.flush()

    threads = [threading.Thread(target=measure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statistics.read([]).histograms[INFER].cumulative()[-1] == 4000


def test_the_buffer_sends_periodically_and_once_at_the_end(statistics: FakeStatistics):
    metrics_buffer = MetricsBuffer(statistics, every=0.01)
    metrics_buffer.start()
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    eventually(lambda: statistics.batches)
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    metrics_buffer.stop()

    assert statistics.read([]).histograms[INFER].cumulative()[-1] == 2


def test_an_error_does_not_stop_the_sending(statistics: FakeStatistics, caplog: pytest.LogCaptureFixture):
    class Faulty(FakeStatistics):
        def add(self, batch: MetricsBatch) -> None:
            if not self.batches:
                self.batches[""] = batch
                raise ZeroDivisionError
            super().add(batch)

    faulty = Faulty()
    metrics_buffer = MetricsBuffer(faulty, every=0.01)
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.1)
    metrics_buffer.start()
    eventually(lambda: faulty.batches, lambda batches: len(batches) >= 2)
    metrics_buffer.stop()

    assert "Statistics were not sent." in caplog.text
