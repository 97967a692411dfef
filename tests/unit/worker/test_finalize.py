from __future__ import annotations

import json

import pytest

from shared import layout
from shared.errors import JobNotFound
from shared.jobs import Counts, JobState
from tests.unit.worker.conftest import Farm
from worker.finalize import end_state, finalize


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


def work_and_finalize(farm: Farm, job_id: str) -> JobState:
    farm.child().work(60)
    assert farm.jobs.claim_finalize() == job_id
    return finalize(job_id, farm.jobs, farm.objects)


def test_the_result_and_the_failures_are_written_before_the_end(farm: Farm):
    job_id = farm.submit(b"one", b"corrupt", b"three")

    assert work_and_finalize(farm, job_id) is JobState.PARTIAL

    result = json.loads(farm.objects.get(layout.result(job_id)))
    (failure,) = farm.objects.get(layout.failures(job_id)).splitlines()
    assert result["state"] == "partial"
    assert result["counts"] == {"total": 3, "succeeded": 2, "failed": 1}
    assert json.loads(failure)["name"] == "1.jpg"
    assert json.loads(failure)["code"] == "image_corrupt"
    assert farm.jobs.get(job_id).state is JobState.PARTIAL


def test_finalising_twice_changes_nothing(farm: Farm):
    job_id = farm.submit(b"one", b"corrupt")
    work_and_finalize(farm, job_id)
    before = {info.key: farm.objects.get(info.key) for info in farm.objects.list(layout.job_prefix(job_id))}
    ended = farm.jobs.get(job_id)

    finalize(job_id, farm.jobs, farm.objects)

    after = {info.key: farm.objects.get(info.key) for info in farm.objects.list(layout.job_prefix(job_id))}
    assert after == before
    assert farm.jobs.get(job_id) == ended


def test_failures_that_a_retry_mended_are_forgotten(farm: Farm):
    job_id = farm.submit(b"one", b"corrupt")
    work_and_finalize(farm, job_id)
    farm.objects.put(layout.input_image(job_id, 1), b"mended")
    farm.jobs.retry(job_id)

    assert work_and_finalize(farm, job_id) is JobState.SUCCEEDED
    assert not farm.objects.exists(layout.failures(job_id))


def test_a_deleted_job_cannot_be_finalised(farm: Farm):
    job_id = farm.submit(b"one")
    farm.child().work(60)
    farm.jobs.delete(job_id)

    with pytest.raises(JobNotFound):
        finalize(job_id, farm.jobs, farm.objects)
