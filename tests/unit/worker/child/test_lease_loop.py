from __future__ import annotations

import itertools

import pytest

from fathom.options import Options
from shared.errors import ObjectStoreDenied, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import ImageState, JobState
from tests.finalizing import claimed
from tests.unit.worker.conftest import WorkerHarness
from worker.child.lease_loop import LARGE_BYTES


def states(harness: WorkerHarness, job_id: str) -> list[ImageState]:
    return [image.state for image in harness.jobs.images(job_id).items]


def codes(harness: WorkerHarness, job_id: str) -> dict[int, str]:
    return {i.index: i.failure.code for i in harness.jobs.failures(job_id) if i.failure is not None}


def test_every_image_of_a_job_is_stored_and_counted(harness: WorkerHarness):
    job_id = harness.submit(*(b"picture %d" % n for n in range(10)))

    assert harness.child().work(60) is False

    job = harness.jobs.get(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (10, 0)
    assert job.state is JobState.FINALIZING
    assert [harness.output(job_id, n) for n in range(10)] == [b"heat of picture %d" % n for n in range(10)]


def test_large_results_are_stored_before_the_next_image_is_begun(harness: WorkerHarness):
    stored: list[int] = []
    harness.pipeline.before = lambda data: stored.append(
        sum("/outputs/" in key for key in harness.objects.objects)
    )
    harness.pipeline.heat = bytes(LARGE_BYTES + 1)
    job_id = harness.submit(b"one", b"two", b"three")

    harness.child().work(60)

    assert stored == [0, 2, 4]
    assert harness.jobs.get(job_id).counts.succeeded == 3


def test_a_bad_image_fails_alone_with_its_code(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"corrupt", b"three")

    harness.child().work(60)

    assert states(harness, job_id) == [ImageState.SUCCEEDED, ImageState.FAILED, ImageState.SUCCEEDED]
    assert codes(harness, job_id) == {1: "image_corrupt"}


def test_an_image_whose_file_is_gone_fails_alone(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"two")
    harness.objects.delete(object_keys.input_image(job_id, 0))

    harness.child().work(60)

    assert codes(harness, job_id) == {0: "input_missing"}
    assert harness.jobs.get(job_id).counts.succeeded == 1


def test_only_the_beginning_of_an_oversized_picture_is_read(harness: WorkerHarness):
    job_id = harness.submit(b"x" * 5000)
    seen: list[bytes] = []
    harness.pipeline.before = seen.append

    harness.child().work(60)

    assert [len(data) for data in seen] == [101]
    assert harness.jobs.get(job_id).counts.succeeded == 1


def test_an_empty_picture_reaches_the_pipeline(harness: WorkerHarness):
    harness.submit(b"")
    seen: list[bytes] = []
    harness.pipeline.before = seen.append

    harness.child().work(60)

    assert seen == [b""]


def test_an_internal_error_is_retried_three_times_and_harms_no_neighbour(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"bug", b"three")
    tries: list[bytes] = []
    harness.pipeline.before = tries.append

    for _ in range(10):
        harness.child().work(60)
        harness.clock.advance(60)

    assert tries.count(b"bug") == 3
    assert codes(harness, job_id) == {1: "internal_error"}
    assert harness.jobs.get(job_id).counts.succeeded == 2


def test_a_job_normalised_as_a_whole_renders_with_the_range_of_all_images(harness: WorkerHarness):
    job_id = harness.submit(b"a", b"four", b"corrupt", options=Options.parse({"normalize": "job"}))

    harness.child().work(60)

    ranges = {common for _, common in harness.pipeline.rendered}
    assert [(r.low, r.high) for r in ranges if r is not None] == [(1.0, 8.0)]
    assert len(harness.pipeline.rendered) == 2
    assert harness.jobs.get(job_id).counts.succeeded == 2
    assert codes(harness, job_id) == {2: "image_corrupt"}


def test_a_cancel_acts_within_one_image_and_keeps_the_results(harness: WorkerHarness):
    job_id = harness.submit(*(b"picture %d" % n for n in range(8)))
    seen: list[bytes] = []

    def cancel_at_the_third(data: bytes) -> None:
        seen.append(data)
        if len(seen) == 3:
            harness.jobs.cancel(job_id)

    harness.pipeline.before = cancel_at_the_third
    harness.child(lease_images=8).work(60)

    assert len(seen) == 3
    assert harness.jobs.get(job_id).counts.succeeded == 3
    assert harness.jobs.get(job_id).state is JobState.CANCELING
    assert claimed(harness.jobs) == job_id


def test_a_pause_releases_the_remaining_images_and_a_resume_finishes_them(harness: WorkerHarness):
    job_id = harness.submit(*(b"picture %d" % n for n in range(6)))
    harness.pipeline.before = lambda data: harness.jobs.pause(job_id) if data == b"picture 1" else None
    harness.child(lease_images=6).work(60)
    assert harness.jobs.get(job_id).counts.succeeded == 2

    harness.pipeline.before = lambda data: None
    harness.jobs.resume(job_id)
    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 6
    assert [data for data, _ in harness.pipeline.rendered].count(b"picture 1") == 1


def test_a_stopping_worker_finishes_its_current_image_and_charges_none(harness: WorkerHarness):
    job_id = harness.submit(*(b"picture %d" % n for n in range(6)))

    def leave(data: bytes) -> None:
        harness.draining = data == b"picture 1"

    harness.pipeline.before = leave
    assert harness.child(lease_images=6).work(60) is True
    assert harness.jobs.get(job_id).counts.succeeded == 2

    harness.draining, harness.pipeline.before = False, lambda data: None
    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 6


def fail(harness: WorkerHarness, method: str, error: Exception, *, calls: int | None = None) -> None:
    """Let this many calls of a method of the object store fail, by default all."""
    numbers = itertools.count()

    def happens(*args: object, **kwargs: object) -> None:
        if calls is None or next(numbers) < calls:
            raise error

    harness.objects.before(getattr(harness.objects, method), happens)


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_a_short_outage_of_a_store_fails_no_image(harness: WorkerHarness, method: str, error: Exception):
    job_id = harness.submit(b"one", b"two", b"three")
    fail(harness, method, error, calls=2)

    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 3


@pytest.mark.parametrize("method", ["get", "put"])
def test_a_long_outage_of_a_store_stops_the_work_and_charges_no_image(harness: WorkerHarness, method: str):
    job_id = harness.submit(b"one", b"two", b"three")
    fail(harness, method, ObjectStoreUnavailable())
    for _ in range(5):
        with pytest.raises(ObjectStoreUnavailable):
            harness.child(patience=0.01).work(60)
    assert harness.jobs.get(job_id).counts.pending == 3

    harness.objects.before(getattr(harness.objects, method), None)
    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 3


def test_a_lease_that_outlasts_its_ticket_is_released(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"two", b"three")

    # The grace ends before the ticket begins, as if the first image had taken all of it.
    assert harness.child(grace=-60).work(0.05) is True

    assert harness.pipeline.rendered == []
    harness.child().work(60)
    assert harness.jobs.get(job_id).counts.succeeded == 3


def test_no_new_lease_begins_after_the_time_of_a_ticket(harness: WorkerHarness):
    harness.submit(b"one")

    assert harness.child().work(0) is True
    assert harness.pipeline.rendered == []
