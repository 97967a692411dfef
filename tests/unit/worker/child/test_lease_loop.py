from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable

import pytest

from fathom.options import Options
from shared.errors import JobStoreUnavailable, ModelError, ObjectStoreDenied, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import ImageState, JobState, Lease
from tests.finalizing import claimed
from tests.unit.worker.conftest import WorkerHarness
from tests.waiting import DEADLINE, eventually
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


def test_a_network_that_cannot_be_loaded_is_not_served_and_charges_no_image(harness: WorkerHarness):
    def load(model: str) -> None:
        if model == "dpt_large":
            raise ModelError("It is damaged.")

    large = harness.submit(b"one", b"two", options=Options(model="dpt_large"))
    small = harness.submit(b"three")
    child = harness.child(models=["dpt_large", "midas_small"], load_model=load)

    assert not child.work(100)

    assert harness.jobs.get(small).counts.succeeded == 1
    assert harness.jobs.get(large).counts.pending == 2
    assert harness.jobs.held() == ()
    assert not [event for event in harness.jobs.events(large).events if event.index is not None]
    # Another worker can serve it.
    assert harness.child(models=["dpt_large"]).work(100) is False
    assert harness.jobs.get(large).counts.succeeded == 2


def test_a_child_serves_jobs_of_several_networks(harness: WorkerHarness):
    loaded: list[str] = []
    jobs = [harness.submit(b"a", b"b", options=Options(model=name)) for name in ("dpt_large", "", "file:x")]

    harness.child(models=["midas_small", "dpt_large"], load_model=loaded.append).work(100)

    assert [harness.jobs.get(job).counts.succeeded for job in jobs] == [2, 2, 0]
    assert sorted(loaded) == ["dpt_large", "midas_small"]


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


@pytest.mark.parametrize("verb", ["cancel", "pause", "delete"])
def test_a_long_image_is_interrupted_when_its_job_stops_and_nothing_is_charged_or_stored(
    harness: WorkerHarness, verb: str
):
    job_id = harness.submit(b"endless", b"another", options=Options.parse({"outputs": "clip"}))
    charged: list[int] = []
    harness.jobs.before(harness.jobs.charge, lambda lease, index, failure: charged.append(index))
    harness.pipeline.before = lambda data: getattr(harness.jobs, verb)(job_id)

    harness.child(lease_seconds=10_000).work(60)

    assert charged == []
    assert harness.pipeline.rendered == []
    assert not [key for key in harness.objects.objects if "/outputs/" in key or "/failures/" in key]
    assert harness.jobs.held() == ()


def test_a_stopping_worker_interrupts_a_long_image_and_another_makes_it(harness: WorkerHarness):
    job_id = harness.submit(b"endless", options=Options.parse({"outputs": "clip"}))
    charged: list[int] = []
    harness.jobs.before(harness.jobs.charge, lambda lease, index, failure: charged.append(index))
    harness.pipeline.before = lambda data: setattr(harness, "draining", True)
    assert harness.child().work(60) is True

    harness.draining, harness.pipeline.before = False, lambda data: None
    harness.pipeline.endless = b""
    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 1
    assert charged == []


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


# --- the next lease, taken while the last image of one is processed ---


def submit_two_leases(harness: WorkerHarness) -> str:
    """Submit a job whose images 0 to 3 are the first lease of a child, and 4 to 7 the second."""
    return harness.submit(*(b"picture %d" % n for n in range(8)))


def in_the_last_image(harness: WorkerHarness, act: Callable[[], object]) -> None:
    """Act while the last image of the first lease is processed and the second lease is held."""

    def process(data: bytes) -> None:
        if data == b"picture 3":
            eventually(lambda: len(harness.jobs.held()) == 2)
            act()

    harness.pipeline.before = process


def test_the_next_lease_is_fetched_while_the_last_image_is_processed(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    fetched = threading.Event()
    fifth = object_keys.input_image(job_id, 4)
    harness.objects.after(harness.objects.get, lambda key, **_: fetched.set() if key == fifth else None)
    waited: list[bool] = []
    in_the_last_image(harness, lambda: waited.append(fetched.wait(DEADLINE)))

    assert harness.child().work(60) is False

    assert waited == [True]
    assert harness.jobs.get(job_id).counts.succeeded == 8
    assert len(harness.pipeline.rendered) == 8
    assert harness.jobs.held() == ()


def test_a_child_holds_no_second_lease_before_its_last_image(harness: WorkerHarness):
    submit_two_leases(harness)
    held: list[int] = []
    harness.pipeline.before = lambda data: (
        held.append(len(harness.jobs.held())) if data == b"picture 2" else None
    )

    harness.child().work(60)

    assert held == [1]


def test_a_worker_that_is_leaving_gives_both_leases_back_and_charges_none(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    in_the_last_image(harness, lambda: setattr(harness, "draining", True))

    assert harness.child().work(60) is True

    assert harness.jobs.held() == ()
    assert harness.jobs.get(job_id).counts.succeeded == 4
    free = list(iter(lambda: harness.jobs.lease("other", limit=8), None))
    assert sorted(index for lease in free for index in lease.indices) == [4, 5, 6, 7]
    assert not any(attempts for lease in free for attempts in lease.attempts)


def test_a_worker_that_is_leaving_gives_the_next_lease_back_before_a_slow_image_ends(harness: WorkerHarness):
    submit_two_leases(harness)

    def leave() -> None:
        harness.draining = True
        eventually(lambda: harness.jobs.held() == ())

    in_the_last_image(harness, leave)

    assert harness.child().work(60) is True


def test_a_pause_gives_the_next_lease_back_and_a_resume_finishes_it(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    in_the_last_image(harness, lambda: harness.jobs.pause(job_id))
    harness.child().work(60)

    assert harness.jobs.held() == ()
    assert harness.jobs.get(job_id).counts.succeeded == 4

    harness.jobs.resume(job_id)
    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 8
    assert len(harness.pipeline.rendered) == 8


def test_a_cancel_gives_the_next_lease_back(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    in_the_last_image(harness, lambda: harness.jobs.cancel(job_id))

    harness.child().work(60)

    assert len(harness.pipeline.rendered) == 4
    assert claimed(harness.jobs) == job_id


def test_the_next_lease_is_renewed_while_it_waits(harness: WorkerHarness):
    submit_two_leases(harness)
    renewed: set[str] = set()

    def note(lease: Lease, *, in_hand: int | None) -> None:
        if in_hand is None:
            renewed.add(lease.id)

    harness.jobs.before(harness.jobs.renew, note)
    in_the_last_image(harness, lambda: eventually(lambda: harness.jobs.held()[1] in renewed))

    assert harness.child(lease_seconds=0.03).work(60) is False


def test_if_the_store_goes_away_both_leases_are_given_back_and_nothing_is_charged(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    in_the_last_image(harness, lambda: fail(harness, "put", ObjectStoreUnavailable()))

    with pytest.raises(ObjectStoreUnavailable):
        harness.child(patience=0.01).work(60)

    assert harness.jobs.held() == ()
    assert harness.jobs.get(job_id).counts.failed == 0
    harness.objects.before(harness.objects.put, None)
    harness.pipeline.before = lambda data: None
    harness.child().work(60)
    assert harness.jobs.get(job_id).counts.succeeded == 8


def test_a_next_lease_that_cannot_be_taken_is_taken_once_the_store_is_back(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    tries = itertools.count()

    def refuse_the_second(worker: str, *, limit: int, models: Iterable[str]) -> None:
        if next(tries) == 1:
            raise JobStoreUnavailable

    harness.jobs.before(harness.jobs.lease, refuse_the_second)

    assert harness.child().work(60) is False

    assert harness.jobs.get(job_id).counts.succeeded == 8


def test_a_crash_in_the_next_lease_is_not_charged_to_an_image_that_is_still_being_stored(
    harness: WorkerHarness,
):
    job_id = submit_two_leases(harness)
    crashed, attempts = threading.Event(), dict[int, int]()
    last = object_keys.output(job_id, 3, "heatmap.png")
    harness.objects.before(
        harness.objects.put, lambda key, *_, **__: crashed.wait(DEADLINE) if key == last else None
    )

    def crash(data: bytes) -> None:
        if data == b"picture 4":
            # What the store does once nobody renews the leases of a child that is gone.
            harness.clock.advance(60)
            harness.jobs.reap()
            harness.clock.advance(60)
            for lease in iter(lambda: harness.jobs.lease("other", limit=8), None):
                attempts.update(zip(lease.indices, lease.attempts, strict=True))
            crashed.set()

    harness.pipeline.before = crash
    harness.child().work(60)

    assert (attempts[3], attempts[4]) == (0, 1)


def test_after_its_time_a_ticket_takes_no_next_lease(harness: WorkerHarness):
    job_id = submit_two_leases(harness)
    began = time.monotonic()
    harness.pipeline.before = lambda data: eventually(lambda: time.monotonic() >= began + 0.3)

    assert harness.child().work(0.2) is True

    assert harness.jobs.get(job_id).counts.succeeded == 4
    assert harness.jobs.held() == ()


def test_two_images_are_stored_at_once(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"two", b"three", b"four")
    both = threading.Barrier(2)

    def meet(key: str, *_: object, **__: object) -> None:
        if key.endswith("heatmap.png"):
            both.wait(DEADLINE)

    harness.objects.before(harness.objects.put, meet)

    harness.child().work(60)

    assert harness.jobs.get(job_id).counts.succeeded == 4


@pytest.mark.parametrize("wanted", [True, False])
def test_a_photo_comes_with_its_label_picture_where_that_is_wanted(harness: WorkerHarness, wanted: bool):
    options = Options.parse({"outputs": ["layers"], "layers": {"masks": wanted}})
    job_id = harness.submit(b"one", b"two", options=options)
    harness.objects.put(object_keys.labels(job_id, "1.jpg"), b"labels")

    harness.child().work(60)

    assert harness.pipeline.labels == [None, b"labels" if wanted else None]


def test_a_store_that_goes_away_before_a_label_picture_charges_no_image(harness: WorkerHarness):
    charged: list[int] = []
    harness.jobs.before(harness.jobs.charge, lambda lease, index, failure: charged.append(index))
    job_id = harness.submit(b"one", options=Options.parse({"outputs": ["layers"], "layers": {"masks": True}}))

    def go_away(key: str, **_: object) -> None:
        if key.startswith(object_keys.labels_prefix(job_id)):
            raise ObjectStoreUnavailable

    harness.objects.before(harness.objects.get, go_away)
    with pytest.raises(ObjectStoreUnavailable):
        harness.child(patience=0.1).work(60)

    assert charged == []
    assert harness.jobs.get(job_id).counts.failed == 0
