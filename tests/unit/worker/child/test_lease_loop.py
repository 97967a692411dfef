from __future__ import annotations

import itertools

import pytest

from fathom.options import Options
from shared.errors import ObjectStoreDenied, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import ImageState, JobState
from tests.finalizing import claimed
from tests.unit.worker.conftest import Farm
from worker.child.lease_loop import LARGE_BYTES


def states(farm: Farm, job_id: str) -> list[ImageState]:
    return [image.state for image in farm.jobs.images(job_id).items]


def codes(farm: Farm, job_id: str) -> dict[int, str]:
    return {i.index: i.failure.code for i in farm.jobs.failures(job_id) if i.failure is not None}


def test_every_image_of_a_job_is_stored_and_counted(farm: Farm):
    job_id = farm.submit(*(b"picture %d" % n for n in range(10)))

    assert farm.child().work(60) is False

    job = farm.jobs.get(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (10, 0)
    assert job.state is JobState.FINALIZING
    assert [farm.output(job_id, n) for n in range(10)] == [b"heat of picture %d" % n for n in range(10)]


def test_large_results_are_stored_before_the_next_image_is_begun(farm: Farm):
    stored: list[int] = []
    farm.pipeline.before = lambda data: stored.append(sum("/outputs/" in key for key in farm.objects.objects))
    farm.pipeline.heat = bytes(LARGE_BYTES + 1)
    job_id = farm.submit(b"one", b"two", b"three")

    farm.child().work(60)

    assert stored == [0, 2, 4]
    assert farm.jobs.get(job_id).counts.succeeded == 3


def test_a_bad_image_fails_alone_with_its_code(farm: Farm):
    job_id = farm.submit(b"one", b"corrupt", b"three")

    farm.child().work(60)

    assert states(farm, job_id) == [ImageState.SUCCEEDED, ImageState.FAILED, ImageState.SUCCEEDED]
    assert codes(farm, job_id) == {1: "image_corrupt"}


def test_an_image_whose_file_is_gone_fails_alone(farm: Farm):
    job_id = farm.submit(b"one", b"two")
    farm.objects.delete(object_keys.input_image(job_id, 0))

    farm.child().work(60)

    assert codes(farm, job_id) == {0: "input_missing"}
    assert farm.jobs.get(job_id).counts.succeeded == 1


def test_only_the_beginning_of_an_oversized_picture_is_read(farm: Farm):
    job_id = farm.submit(b"x" * 5000)
    seen: list[bytes] = []
    farm.pipeline.before = seen.append

    farm.child().work(60)

    assert [len(data) for data in seen] == [101]
    assert farm.jobs.get(job_id).counts.succeeded == 1


def test_an_empty_picture_reaches_the_pipeline(farm: Farm):
    farm.submit(b"")
    seen: list[bytes] = []
    farm.pipeline.before = seen.append

    farm.child().work(60)

    assert seen == [b""]


def test_an_internal_error_is_retried_three_times_and_harms_no_neighbour(farm: Farm):
    job_id = farm.submit(b"one", b"bug", b"three")
    tries: list[bytes] = []
    farm.pipeline.before = tries.append

    for _ in range(10):
        farm.child().work(60)
        farm.clock.advance(60)

    assert tries.count(b"bug") == 3
    assert codes(farm, job_id) == {1: "internal_error"}
    assert farm.jobs.get(job_id).counts.succeeded == 2


def test_a_job_normalised_as_a_whole_renders_with_the_range_of_all_images(farm: Farm):
    job_id = farm.submit(b"a", b"four", b"corrupt", options=Options.parse({"normalize": "job"}))

    farm.child().work(60)

    ranges = {common for _, common in farm.pipeline.rendered}
    assert [(r.low, r.high) for r in ranges if r is not None] == [(1.0, 8.0)]
    assert len(farm.pipeline.rendered) == 2
    assert farm.jobs.get(job_id).counts.succeeded == 2
    assert codes(farm, job_id) == {2: "image_corrupt"}


def test_a_cancel_acts_within_one_image_and_keeps_the_results(farm: Farm):
    job_id = farm.submit(*(b"picture %d" % n for n in range(8)))
    seen: list[bytes] = []

    def cancel_at_the_third(data: bytes) -> None:
        seen.append(data)
        if len(seen) == 3:
            farm.jobs.cancel(job_id)

    farm.pipeline.before = cancel_at_the_third
    farm.child(lease_images=8).work(60)

    assert len(seen) == 3
    assert farm.jobs.get(job_id).counts.succeeded == 3
    assert farm.jobs.get(job_id).state is JobState.CANCELING
    assert claimed(farm.jobs) == job_id


def test_a_pause_releases_the_remaining_images_and_a_resume_finishes_them(farm: Farm):
    job_id = farm.submit(*(b"picture %d" % n for n in range(6)))
    farm.pipeline.before = lambda data: farm.jobs.pause(job_id) if data == b"picture 1" else None
    farm.child(lease_images=6).work(60)
    assert farm.jobs.get(job_id).counts.succeeded == 2

    farm.pipeline.before = lambda data: None
    farm.jobs.resume(job_id)
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 6
    assert [data for data, _ in farm.pipeline.rendered].count(b"picture 1") == 1


def test_a_stopping_worker_finishes_its_current_image_and_charges_none(farm: Farm):
    job_id = farm.submit(*(b"picture %d" % n for n in range(6)))

    def leave(data: bytes) -> None:
        farm.draining = data == b"picture 1"

    farm.pipeline.before = leave
    assert farm.child(lease_images=6).work(60) is True
    assert farm.jobs.get(job_id).counts.succeeded == 2

    farm.draining, farm.pipeline.before = False, lambda data: None
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 6


def fail(farm: Farm, method: str, error: Exception, *, calls: int | None = None) -> None:
    """Let this many calls of a method of the object store fail, by default all."""
    numbers = itertools.count()

    def happens(*args: object, **kwargs: object) -> None:
        if calls is None or next(numbers) < calls:
            raise error

    farm.objects.before(getattr(farm.objects, method), happens)


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_a_short_outage_of_a_store_fails_no_image(farm: Farm, method: str, error: Exception):
    job_id = farm.submit(b"one", b"two", b"three")
    fail(farm, method, error, calls=2)

    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 3


@pytest.mark.parametrize("method", ["get", "put"])
def test_a_long_outage_of_a_store_stops_the_work_and_charges_no_image(farm: Farm, method: str):
    job_id = farm.submit(b"one", b"two", b"three")
    fail(farm, method, ObjectStoreUnavailable())
    for _ in range(5):
        with pytest.raises(ObjectStoreUnavailable):
            farm.child(patience=0.01).work(60)
    assert farm.jobs.get(job_id).counts.pending == 3

    farm.objects.before(getattr(farm.objects, method), None)
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 3


def test_a_lease_that_outlasts_its_ticket_is_released(farm: Farm):
    job_id = farm.submit(b"one", b"two", b"three")

    # The grace ends before the ticket begins, as if the first image had taken all of it.
    assert farm.child(grace=-60).work(0.05) is True

    assert farm.pipeline.rendered == []
    farm.child().work(60)
    assert farm.jobs.get(job_id).counts.succeeded == 3


def test_no_new_lease_begins_after_the_time_of_a_ticket(farm: Farm):
    farm.submit(b"one")

    assert farm.child().work(0) is True
    assert farm.pipeline.rendered == []
