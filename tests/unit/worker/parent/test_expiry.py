from __future__ import annotations

import itertools

import pytest

from fathom.options import Options
from shared.control import Controls
from shared.errors import JobNotFound, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import JobState, new_job_id
from shared.jobs.record import encode_job
from tests.fakes import FakeObjectStore
from tests.unit.worker.conftest import WorkerHarness
from worker.parent.expiry import Expirer

DAY = 86_400.0


@pytest.fixture
def harness(harness: WorkerHarness) -> WorkerHarness:
    """A harness whose object store uses the same clock, and whose job store is reconciled."""
    harness.objects = FakeObjectStore(clock=harness.clock)
    harness.jobs.mark_reconciled()
    return harness


def expirer(harness: WorkerHarness, *, name: str = "worker", retention_seconds: float = 7 * DAY) -> Expirer:
    return Expirer(
        name=name,
        jobs=harness.jobs,
        objects=harness.objects,
        chores=harness.chores,
        retention_seconds=retention_seconds,
        draining=lambda: False,
    )


def submit(harness: WorkerHarness, *pictures: bytes, options: Options | None = None) -> str:
    job_id = harness.submit(*pictures, options=options)
    harness.objects.put(object_keys.job_record(job_id), encode_job(harness.jobs.get(job_id)))
    return job_id


def end(harness: WorkerHarness, *pictures: bytes) -> str:
    job_id = submit(harness, *pictures)
    harness.child().work(60)
    harness.maintenance().finish_up()
    return job_id


def keys(harness: WorkerHarness, job_id: str) -> list[str]:
    return [entry.key for entry in harness.objects.list(object_keys.job_prefix(job_id))]


def test_an_ended_job_expires_after_the_retention_and_not_before(harness: WorkerHarness):
    job_id, bad = end(harness, b"one", b"two"), end(harness, b"corrupt")
    harness.clock.advance(6.9 * DAY)
    younger = end(harness, b"three")

    assert expirer(harness).expire() == 0
    harness.clock.advance(0.2 * DAY)
    assert expirer(harness).expire() == 2

    assert [harness.jobs.get(each).state for each in (job_id, bad)] == [JobState.EXPIRED] * 2
    assert (keys(harness, job_id), keys(harness, bad)) == ([], [])
    assert harness.jobs.get(younger).state is JobState.SUCCEEDED
    assert len(keys(harness, younger)) == 6


def test_a_running_job_never_expires(harness: WorkerHarness):
    job_id = submit(harness, b"one", b"two")
    harness.jobs.lease("worker", limit=1)
    harness.clock.advance(100 * DAY)

    assert expirer(harness).expire() == 0
    assert expirer(harness).sweep() == 0
    assert harness.jobs.get(job_id).state is JobState.PROCESSING
    assert len(keys(harness, job_id)) == 4


def test_an_untouched_paused_job_expires(harness: WorkerHarness):
    job_id = submit(harness, b"one")
    Controls(harness.jobs, harness.objects).pause(job_id)
    harness.clock.advance(8 * DAY)

    assert expirer(harness).expire() == 1
    assert keys(harness, job_id) == []


def test_a_job_touched_during_a_run_does_not_expire(harness: WorkerHarness):
    first, second = submit(harness, b"one"), submit(harness, b"two")
    controls = Controls(harness.jobs, harness.objects)
    for job_id in (first, second):
        controls.pause(job_id)
        harness.clock.advance(60)
    harness.clock.advance(8 * DAY)

    def touch(prefix: str) -> None:
        harness.objects.before(harness.objects.delete_prefix, None)
        controls.resume(second)
        controls.pause(second)

    harness.objects.before(harness.objects.delete_prefix, touch)

    assert expirer(harness).expire() == 1
    assert harness.jobs.get(first).state is JobState.EXPIRED
    assert harness.jobs.get(second).state is JobState.PAUSED
    assert object_keys.input_image(second, 0) in keys(harness, second)


def test_jobs_lost_during_a_sweep_are_not_swept(harness: WorkerHarness):
    job_id = end(harness, b"one")
    harness.clock.advance(7.5 * DAY)
    expirer_ = expirer(harness)

    def lose(prefix: str) -> None:
        harness.jobs.delete(job_id)
        harness.jobs.reconciled = False

    harness.objects.before(harness.objects.folders, lose)

    assert expirer_.sweep() == 0
    assert object_keys.result(job_id) in keys(harness, job_id)


def test_a_run_expires_a_bounded_number_of_jobs(harness: WorkerHarness):
    for _ in range(25):
        end(harness, b"one")
    harness.clock.advance(8 * DAY)

    assert [expirer(harness).expire() for _ in range(3)] == [20, 5, 0]
    assert harness.objects.objects == {}


def test_one_worker_at_a_time_expires_jobs(harness: WorkerHarness):
    end(harness, b"one")
    harness.clock.advance(8 * DAY)
    harness.jobs.acquire("expiry", "another", 60)

    assert expirer(harness).expire() == 0
    harness.clock.advance(61)
    assert expirer(harness).expire() == 1


@pytest.mark.parametrize("reached", [0, 1, 2, 3, 4])
def test_others_finish_the_expiry_of_a_worker_that_died(harness: WorkerHarness, reached: int):
    job_id = end(harness, b"one")
    harness.clock.advance(8 * DAY)
    calls = itertools.count(1)

    def die(key: str) -> None:
        if next(calls) > reached:
            raise ObjectStoreUnavailable

    harness.objects.before(harness.objects.delete, die)
    with pytest.raises(ObjectStoreUnavailable):
        expirer(harness).expire()
    assert keys(harness, job_id) != []
    harness.objects.before(harness.objects.delete, None)

    expirer(harness).expire()
    expirer(harness).sweep()

    assert keys(harness, job_id) == []
    assert harness.jobs.get(job_id).state is JobState.EXPIRED


def test_the_record_is_deleted_after_another_retention(harness: WorkerHarness):
    job_id, kept = end(harness, b"one"), submit(harness, b"two")
    harness.jobs.lease("worker", limit=1)
    harness.clock.advance(7.1 * DAY)
    expirer(harness).expire()
    harness.clock.advance(6.8 * DAY)
    expirer(harness).sweep()
    assert harness.jobs.get(job_id).state is JobState.EXPIRED

    harness.clock.advance(0.2 * DAY)
    assert expirer(harness).sweep() == 1

    with pytest.raises(JobNotFound):
        harness.jobs.get(job_id)
    assert harness.jobs.get(kept).state is JobState.PROCESSING


def test_uploads_without_a_job_are_deleted_when_the_last_is_old(harness: WorkerHarness):
    job_id = new_job_id()
    harness.objects.put(object_keys.input_image(job_id, 0), b"x")
    harness.clock.advance(5 * DAY)
    harness.objects.put(object_keys.input_image(job_id, 1), b"x")
    harness.clock.advance(5 * DAY)

    assert expirer(harness).sweep() == 0
    assert len(keys(harness, job_id)) == 2
    harness.clock.advance(3 * DAY)
    assert expirer(harness).sweep() == 1
    assert keys(harness, job_id) == []


def test_nothing_is_swept_while_the_job_store_may_have_lost_something(harness: WorkerHarness):
    job_id = end(harness, b"one")
    harness.clock.advance(30 * DAY)
    harness.jobs.delete(job_id)
    harness.jobs.reconciled = False

    assert expirer(harness).sweep() == 0
    assert keys(harness, job_id) != []


def test_idempotency_records_are_deleted_after_a_day(harness: WorkerHarness):
    record = object_keys.idempotency_record("a" * 64)
    harness.objects.put(record, b"{}")
    harness.clock.advance(DAY - 1)
    expirer(harness).sweep()
    kept = harness.objects.exists(record)
    harness.clock.advance(2)
    expirer(harness).sweep()

    assert kept
    assert not harness.objects.exists(record)


def test_keys_outside_of_jobs_are_never_swept(harness: WorkerHarness):
    for key in ("jobs/loose", "jobs/not-a-job/x", "keys/abc.json", "elsewhere"):
        harness.objects.put(key, b"x")
    harness.clock.advance(1000 * DAY)

    assert expirer(harness).sweep() == 0
    assert len(harness.objects.objects) == 4


@pytest.mark.parametrize(("hours", "pause", "long_pause"), [(168, 60, 3600), (0.01, 1, 3.6), (1, 36, 360)])
def test_the_interval_of_sweeps_follows_from_the_retention(
    harness: WorkerHarness, hours: float, pause: float, long_pause: float
):
    mine = expirer(harness, retention_seconds=hours * 3600)

    assert (mine.pause, mine.long_pause) == pytest.approx((pause, long_pause))
