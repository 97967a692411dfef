from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from fathom.options import Options
from shared.errors import ImageCorrupt, ObjectNotFound
from shared.jobs.job import Range, new_job_id
from shared.jobs.object_keys import input_image, manifest, output
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.model import Summary
from tests.fakes import FakeObjectStore, FakeStatistics
from worker.child.timing import TimedPipeline, record_transfers
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

WORKER = "host:1"


class FakePipeline:
    """A pipeline that always takes the same time, and fails on request."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seconds: Mapping[Stage, float] = {}

    def measure(self, data: bytes, options: Options) -> Range:
        self.seconds = {Stage.DECODE: 0.02, Stage.INFER: 0.03}
        return Range(low=0.0, high=1.0)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        self.seconds = {Stage.DECODE: 0.02}
        if self.error is not None:
            raise self.error
        self.seconds = {**self.seconds, Stage.ENCODE: 0.04}
        return ()


@pytest.fixture
def statistics() -> FakeStatistics:
    return FakeStatistics()


@pytest.fixture
def metrics_buffer(statistics: FakeStatistics) -> MetricsBuffer:
    return MetricsBuffer(statistics)


def recorded(metrics_buffer: MetricsBuffer, statistics: FakeStatistics) -> tuple[dict[str, float], Summary]:
    """Return the seconds of every stage, and all statistics."""
    metrics_buffer.flush()
    summary = statistics.read([WORKER])
    return {series.labels[0]: histogram.seconds for series, histogram in summary.histograms.items()}, summary


def test_the_steps_of_a_photo_are_recorded_and_the_photo_counted(
    metrics_buffer: MetricsBuffer, statistics: FakeStatistics
):
    TimedPipeline(FakePipeline(), metrics_buffer, worker=WORKER).render(b"", Options())
    stages, summary = recorded(metrics_buffer, statistics)

    assert stages == pytest.approx({"decode": 0.02, "encode": 0.04})
    assert summary.images == {WORKER: 1}


def test_a_measured_photo_does_not_count_as_done(metrics_buffer: MetricsBuffer, statistics: FakeStatistics):
    assert TimedPipeline(FakePipeline(), metrics_buffer, worker=WORKER).measure(b"", Options()) == Range(
        low=0.0, high=1.0
    )
    stages, summary = recorded(metrics_buffer, statistics)

    assert stages == pytest.approx({"decode": 0.02, "infer": 0.03})
    assert summary.images == {WORKER: 0}


def test_a_bad_photo_counts_as_done(metrics_buffer: MetricsBuffer, statistics: FakeStatistics):
    with pytest.raises(ImageCorrupt):
        TimedPipeline(FakePipeline(ImageCorrupt()), metrics_buffer, worker=WORKER).render(b"", Options())
    stages, summary = recorded(metrics_buffer, statistics)

    assert stages == pytest.approx({"decode": 0.02})
    assert summary.images == {WORKER: 1}


def test_a_photo_to_retry_does_not_count_as_done(metrics_buffer: MetricsBuffer, statistics: FakeStatistics):
    with pytest.raises(ZeroDivisionError):
        TimedPipeline(FakePipeline(ZeroDivisionError()), metrics_buffer, worker=WORKER).render(b"", Options())

    assert recorded(metrics_buffer, statistics)[1].images == {WORKER: 0}


def test_photos_read_and_results_written_are_recorded(
    metrics_buffer: MetricsBuffer, statistics: FakeStatistics
):
    job_id, inner = new_job_id(), FakeObjectStore()
    objects = inner.observed_by(record_transfers(metrics_buffer))
    inner.put(input_image(job_id, 0), b"photo")
    assert objects.get(input_image(job_id, 0), stop=3) == b"pho"
    objects.put(output(job_id, 0, "heatmap.png"), b"map", content_type="image/png")

    assert set(recorded(metrics_buffer, statistics)[0]) == {"fetch", "store"}
    assert inner.content_types[output(job_id, 0, "heatmap.png")] == "image/png"


def test_a_photo_read_with_its_tag_is_recorded_too(metrics_buffer: MetricsBuffer, statistics: FakeStatistics):
    key, inner = input_image(new_job_id(), 0), FakeObjectStore()
    inner.put(key, b"photo")

    assert inner.observed_by(record_transfers(metrics_buffer)).get_tagged(key, stop=3) == (
        b"pho",
        next(inner.list(key)).tag,
    )
    assert set(recorded(metrics_buffer, statistics)[0]) == {"fetch"}


def test_other_objects_are_not_timed(metrics_buffer: MetricsBuffer, statistics: FakeStatistics):
    objects = FakeObjectStore().observed_by(record_transfers(metrics_buffer))
    objects.put(manifest(new_job_id()), b"")
    with pytest.raises(ObjectNotFound):
        objects.get(input_image(new_job_id(), 0))

    assert len(list(objects.list("jobs/"))) == 1
    assert recorded(metrics_buffer, statistics)[0] == {}
