from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import pytest

from fathom.options import Options
from shared.errors import JobNotFound
from shared.jobs import object_keys
from shared.jobs.job import Counts, ImageFailure, ImageState, ImageStatus, Job, JobState, new_job_id
from tests.fakes import FakeJobStore, FakeObjectStore
from tests.finalizing import claim, finalize_claimed
from tests.unit.worker.conftest import WorkerHarness
from worker.parent.finalize import end_state


@pytest.mark.parametrize(
    ("state", "succeeded", "failed", "end"),
    [
        (JobState.FINALIZING, 3, 0, JobState.SUCCEEDED),
        (JobState.FINALIZING, 2, 1, JobState.PARTIAL),
        (JobState.FINALIZING, 0, 3, JobState.FAILED),
        (JobState.CANCELING, 2, 0, JobState.CANCELED),
        (JobState.CANCELING, 0, 0, JobState.CANCELED),
        (JobState.CANCELING, 2, 1, JobState.CANCELED),
    ],
)
def test_the_end_of_a_job_follows_from_its_counts(
    state: JobState, succeeded: int, failed: int, end: JobState
):
    assert end_state(state, Counts(total=3, succeeded=succeeded, failed=failed)) is end


def work_and_finalize(harness: WorkerHarness, job_id: str) -> JobState:
    harness.child().work(60)
    return finalize_claimed(claim(harness.jobs, job_id), harness.jobs, harness.objects)


def test_the_result_and_the_failures_are_written_before_the_end(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"corrupt", b"three")

    assert work_and_finalize(harness, job_id) is JobState.PARTIAL

    result = json.loads(harness.objects.get(object_keys.result(job_id)))
    (failure,) = harness.objects.get(object_keys.failures(job_id)).splitlines()
    assert result["state"] == "partial"
    assert result["counts"] == {"total": 3, "succeeded": 2, "failed": 1}
    assert json.loads(failure)["name"] == "1.jpg"
    assert json.loads(failure)["code"] == "image_corrupt"
    assert harness.jobs.get(job_id).state is JobState.PARTIAL


def test_finalising_twice_changes_nothing(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"corrupt")
    harness.child().work(60)
    ending = claim(harness.jobs, job_id)
    finalize_claimed(ending, harness.jobs, harness.objects)
    before = {
        info.key: harness.objects.get(info.key)
        for info in harness.objects.list(object_keys.job_prefix(job_id))
    }
    ended = harness.jobs.get(job_id)

    finalize_claimed(ending, harness.jobs, harness.objects)

    after = {
        info.key: harness.objects.get(info.key)
        for info in harness.objects.list(object_keys.job_prefix(job_id))
    }
    assert after == before
    assert harness.jobs.get(job_id) == ended


def test_failures_that_a_retry_fixed_are_removed(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"corrupt")
    work_and_finalize(harness, job_id)
    harness.objects.put(object_keys.input_image(job_id, 1), b"mended")
    harness.jobs.retry(job_id)

    assert work_and_finalize(harness, job_id) is JobState.SUCCEEDED
    assert not harness.objects.exists(object_keys.failures(job_id))


def test_a_deleted_job_cannot_be_finalised(harness: WorkerHarness):
    job_id = harness.submit(b"one")
    harness.child().work(60)
    ending = claim(harness.jobs, job_id)
    harness.jobs.delete(job_id)

    with pytest.raises(JobNotFound):
        finalize_claimed(ending, harness.jobs, harness.objects)


class _Losing(FakeJobStore):
    """Loses a job and its failures while they are read."""

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        found = list(super().failures(job_id))
        self.delete(job_id)
        for status in found:
            yield replace(status, failure=None)


def test_a_job_that_loses_its_failures_while_they_are_written_has_not_ended(harness: WorkerHarness):
    harness.jobs = _Losing(clock=harness.clock)
    job_id = harness.submit(b"one", b"corrupt")
    harness.objects.put(object_keys.job_record(job_id), b"{}")
    harness.child().work(60)
    ending = claim(harness.jobs, job_id)

    with pytest.raises(JobNotFound):
        finalize_claimed(ending, harness.jobs, harness.objects)
    assert not harness.objects.exists(object_keys.result(job_id))
    assert harness.objects.exists(object_keys.failure(job_id, 1))


class _Failed(FakeJobStore):
    """A job whose images all failed with long messages, which are made one by one."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total

    def get(self, job_id: str) -> Job:
        return replace(super().get(job_id), counts=Counts(total=self.total, failed=self.total))

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        for index in range(self.total):
            failure = ImageFailure(code="image_corrupt", message=f"{index} " * 100)
            yield ImageStatus(index=index, state=ImageState.FAILED, failure=failure)


class _Sink(FakeObjectStore):
    """Counts the lines streamed to it, and keeps none."""

    lines = 0

    def put_stream(self, key: str, stream: BinaryIO, *, content_type: str = "") -> None:
        self.lines += sum(1 for _ in stream)


def test_the_failures_of_a_large_job_are_never_in_memory_together():
    jobs, objects = _Failed(10_000), _Sink()
    job_id = new_job_id()
    jobs.create(
        Job(id=job_id, state=JobState.QUEUED, options=Options(), counts=Counts(total=1), created_at=0.0)
    )
    jobs.cancel(job_id)
    ending = claim(jobs, job_id)

    tracemalloc.start()
    try:
        finalize_claimed(ending, jobs, objects)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert objects.lines == 10_000
    assert most < 3 * 2**20, "The lines take 5 MB."
