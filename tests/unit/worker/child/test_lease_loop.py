from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from fathom.options import Options
from shared.errors import JobStoreUnavailable, ObjectStoreDenied, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import ImageState, JobState, Lease
from tests.finalizing import claimed
from tests.unit.worker.conftest import Farm
from tests.waiting import DEADLINE, eventually
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


def test_no_more_of_a_picture_is_read_than_shows_that_it_is_too_large(farm: Farm):
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


def test_a_fault_of_ours_is_tried_three_times_and_harms_no_neighbour(farm: Farm):
    job_id = farm.submit(b"one", b"bug", b"three")
    tries: list[bytes] = []
    farm.pipeline.before = tries.append

    for _ in range(10):
        farm.child().work(60)
        farm.clock.advance(60)

    assert tries.count(b"bug") == 3
    assert codes(farm, job_id) == {1: "internal_error"}
    assert farm.jobs.get(job_id).counts.succeeded == 2


def test_a_job_normalised_as_a_whole_renders_over_the_range_of_all(farm: Farm):
    job_id = farm.submit(b"a", b"four", b"corrupt", options=Options.parse({"normalize": "job"}))

    farm.child().work(60)

    ranges = {common for _, common in farm.pipeline.rendered}
    assert [(r.low, r.high) for r in ranges if r is not None] == [(1.0, 8.0)]
    assert len(farm.pipeline.rendered) == 2
    assert farm.jobs.get(job_id).counts.succeeded == 2
    assert codes(farm, job_id) == {2: "image_corrupt"}


def test_a_cancel_acts_within_one_image_and_keeps_what_is_done(farm: Farm):
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


def test_a_pause_gives_the_rest_back_and_a_resume_finishes_it(farm: Farm):
    job_id = farm.submit(*(b"picture %d" % n for n in range(6)))
    farm.pipeline.before = lambda data: farm.jobs.pause(job_id) if data == b"picture 1" else None
    farm.child(lease_images=6).work(60)
    assert farm.jobs.get(job_id).counts.succeeded == 2

    farm.pipeline.before = lambda data: None
    farm.jobs.resume(job_id)
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 6
    assert [data for data, _ in farm.pipeline.rendered].count(b"picture 1") == 1


def test_a_worker_that_is_leaving_finishes_the_image_in_hand_and_charges_none(farm: Farm):
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
    """Let so many calls of one method of the object store fail, by default all."""
    numbers = itertools.count()

    def happens(*args: object, **kwargs: object) -> None:
        if calls is None or next(numbers) < calls:
            raise error

    farm.objects.before(getattr(farm.objects, method), happens)


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_a_store_that_was_away_for_a_moment_costs_no_image(farm: Farm, method: str, error: Exception):
    job_id = farm.submit(b"one", b"two", b"three")
    fail(farm, method, error, calls=2)

    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 3


@pytest.mark.parametrize("method", ["get", "put"])
def test_a_store_that_stays_away_stops_the_work_and_charges_no_image(farm: Farm, method: str):
    job_id = farm.submit(b"one", b"two", b"three")
    fail(farm, method, ObjectStoreUnavailable())
    for _ in range(5):
        with pytest.raises(ObjectStoreUnavailable):
            farm.child(patience=0.01).work(60)
    assert farm.jobs.get(job_id).counts.pending == 3

    farm.objects.before(getattr(farm.objects, method), None)
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 3


def test_a_lease_that_outlasts_its_ticket_is_given_back(farm: Farm):
    job_id = farm.submit(b"one", b"two", b"three")

    # The grace ends before the ticket begins, as if the first image had taken all of it.
    assert farm.child(grace=-60).work(0.05) is True

    assert farm.pipeline.rendered == []
    farm.child().work(60)
    assert farm.jobs.get(job_id).counts.succeeded == 3


def test_no_new_lease_begins_after_its_time(farm: Farm):
    farm.submit(b"one")

    assert farm.child().work(0) is True
    assert farm.pipeline.rendered == []


# --- the next lease, taken while the last image of one is processed ---


def submit_two_leases(farm: Farm) -> str:
    """Submit a job whose images 0 to 3 are the first lease of a child, and 4 to 7 the second."""
    return farm.submit(*(b"picture %d" % n for n in range(8)))


def in_the_last_image(farm: Farm, act: Callable[[], object]) -> None:
    """Act while the last image of the first lease is processed and the second lease is held."""

    def process(data: bytes) -> None:
        if data == b"picture 3":
            eventually(lambda: len(farm.jobs.held()) == 2)
            act()

    farm.pipeline.before = process


def test_the_next_lease_is_fetched_while_the_last_image_is_processed(farm: Farm):
    job_id = submit_two_leases(farm)
    fetched = threading.Event()
    fifth = object_keys.input_image(job_id, 4)
    farm.objects.after(farm.objects.get, lambda key, **_: fetched.set() if key == fifth else None)
    waited: list[bool] = []
    in_the_last_image(farm, lambda: waited.append(fetched.wait(DEADLINE)))

    assert farm.child().work(60) is False

    assert waited == [True]
    assert farm.jobs.get(job_id).counts.succeeded == 8
    assert len(farm.pipeline.rendered) == 8
    assert farm.jobs.held() == ()


def test_a_child_holds_no_second_lease_before_its_last_image(farm: Farm):
    submit_two_leases(farm)
    held: list[int] = []
    farm.pipeline.before = lambda data: held.append(len(farm.jobs.held())) if data == b"picture 2" else None

    farm.child().work(60)

    assert held == [1]


def test_a_worker_that_is_leaving_gives_both_leases_back_and_charges_none(farm: Farm):
    job_id = submit_two_leases(farm)
    in_the_last_image(farm, lambda: setattr(farm, "draining", True))

    assert farm.child().work(60) is True

    assert farm.jobs.held() == ()
    assert farm.jobs.get(job_id).counts.succeeded == 4
    free = list(iter(lambda: farm.jobs.lease("other", limit=8), None))
    assert sorted(index for lease in free for index in lease.indices) == [4, 5, 6, 7]
    assert not any(attempts for lease in free for attempts in lease.attempts)


def test_a_worker_that_is_leaving_gives_the_next_lease_back_before_a_slow_image_ends(farm: Farm):
    submit_two_leases(farm)

    def leave() -> None:
        farm.draining = True
        eventually(lambda: farm.jobs.held() == ())

    in_the_last_image(farm, leave)

    assert farm.child().work(60) is True


def test_a_pause_gives_the_next_lease_back_and_a_resume_finishes_it(farm: Farm):
    job_id = submit_two_leases(farm)
    in_the_last_image(farm, lambda: farm.jobs.pause(job_id))
    farm.child().work(60)

    assert farm.jobs.held() == ()
    assert farm.jobs.get(job_id).counts.succeeded == 4

    farm.jobs.resume(job_id)
    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 8
    assert len(farm.pipeline.rendered) == 8


def test_a_cancel_gives_the_next_lease_back(farm: Farm):
    job_id = submit_two_leases(farm)
    in_the_last_image(farm, lambda: farm.jobs.cancel(job_id))

    farm.child().work(60)

    assert len(farm.pipeline.rendered) == 4
    assert claimed(farm.jobs) == job_id


def test_the_next_lease_is_renewed_while_it_waits(farm: Farm):
    submit_two_leases(farm)
    renewed: set[str] = set()

    def note(lease: Lease, *, in_hand: int | None) -> None:
        if in_hand is None:
            renewed.add(lease.id)

    farm.jobs.before(farm.jobs.renew, note)
    in_the_last_image(farm, lambda: eventually(lambda: farm.jobs.held()[1] in renewed))

    assert farm.child(lease_seconds=0.03).work(60) is False


def test_if_the_store_goes_away_both_leases_are_given_back_and_nothing_is_charged(farm: Farm):
    job_id = submit_two_leases(farm)
    in_the_last_image(farm, lambda: fail(farm, "put", ObjectStoreUnavailable()))

    with pytest.raises(ObjectStoreUnavailable):
        farm.child(patience=0.01).work(60)

    assert farm.jobs.held() == ()
    assert farm.jobs.get(job_id).counts.failed == 0
    farm.objects.before(farm.objects.put, None)
    farm.pipeline.before = lambda data: None
    farm.child().work(60)
    assert farm.jobs.get(job_id).counts.succeeded == 8


def test_a_next_lease_that_cannot_be_taken_is_taken_once_the_store_is_back(farm: Farm):
    job_id = submit_two_leases(farm)
    tries = itertools.count()

    def refuse_the_second(worker: str, *, limit: int) -> None:
        if next(tries) == 1:
            raise JobStoreUnavailable

    farm.jobs.before(farm.jobs.lease, refuse_the_second)

    assert farm.child().work(60) is False

    assert farm.jobs.get(job_id).counts.succeeded == 8


def test_a_crash_in_the_next_lease_is_not_charged_to_an_image_that_is_still_being_stored(farm: Farm):
    job_id = submit_two_leases(farm)
    crashed, attempts = threading.Event(), dict[int, int]()
    last = object_keys.output(job_id, 3, "heatmap.png")
    farm.objects.before(
        farm.objects.put, lambda key, *_, **__: crashed.wait(DEADLINE) if key == last else None
    )

    def crash(data: bytes) -> None:
        if data == b"picture 4":
            # What the store does once nobody renews the leases of a child that is gone.
            farm.clock.advance(60)
            farm.jobs.reap()
            farm.clock.advance(60)
            for lease in iter(lambda: farm.jobs.lease("other", limit=8), None):
                attempts.update(zip(lease.indices, lease.attempts, strict=True))
            crashed.set()

    farm.pipeline.before = crash
    farm.child().work(60)

    assert (attempts[3], attempts[4]) == (0, 1)


def test_after_its_time_a_ticket_takes_no_next_lease(farm: Farm):
    job_id = submit_two_leases(farm)
    began = time.monotonic()
    farm.pipeline.before = lambda data: eventually(lambda: time.monotonic() >= began + 0.3)

    assert farm.child().work(0.2) is True

    assert farm.jobs.get(job_id).counts.succeeded == 4
    assert farm.jobs.held() == ()


def test_two_images_are_stored_at_once(farm: Farm):
    job_id = farm.submit(b"one", b"two", b"three", b"four")
    both = threading.Barrier(2)

    def meet(key: str, *_: object, **__: object) -> None:
        if key.endswith("heatmap.png"):
            both.wait(DEADLINE)

    farm.objects.before(farm.objects.put, meet)

    farm.child().work(60)

    assert farm.jobs.get(job_id).counts.succeeded == 4
