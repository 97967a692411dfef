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
from tests.unit.worker.conftest import Farm
from worker.parent.expiry import Expirer

DAY = 86_400.0


@pytest.fixture
def farm(farm: Farm) -> Farm:
    """A farm whose object store uses the same clock, and whose job store is reconciled."""
    farm.objects = FakeObjectStore(clock=farm.clock)
    farm.jobs.mark_reconciled()
    return farm


def expirer(farm: Farm, *, name: str = "worker", retention_seconds: float = 7 * DAY) -> Expirer:
    return Expirer(
        name=name,
        jobs=farm.jobs,
        objects=farm.objects,
        chores=farm.chores,
        retention_seconds=retention_seconds,
        draining=lambda: False,
    )


def submit(farm: Farm, *pictures: bytes, options: Options | None = None) -> str:
    job_id = farm.submit(*pictures, options=options)
    farm.objects.put(object_keys.job_record(job_id), encode_job(farm.jobs.get(job_id)))
    return job_id


def end(farm: Farm, *pictures: bytes) -> str:
    job_id = submit(farm, *pictures)
    farm.child().work(60)
    farm.maintenance().finish_up()
    return job_id


def keys(farm: Farm, job_id: str) -> list[str]:
    return [entry.key for entry in farm.objects.list(object_keys.job_prefix(job_id))]


def test_an_ended_job_expires_after_the_retention_and_not_before(farm: Farm):
    job_id, bad = end(farm, b"one", b"two"), end(farm, b"corrupt")
    farm.clock.advance(6.9 * DAY)
    younger = end(farm, b"three")

    assert expirer(farm).expire() == 0
    farm.clock.advance(0.2 * DAY)
    assert expirer(farm).expire() == 2

    assert [farm.jobs.get(each).state for each in (job_id, bad)] == [JobState.EXPIRED] * 2
    assert (keys(farm, job_id), keys(farm, bad)) == ([], [])
    assert farm.jobs.get(younger).state is JobState.SUCCEEDED
    assert len(keys(farm, younger)) == 6


def test_a_running_job_never_expires(farm: Farm):
    job_id = submit(farm, b"one", b"two")
    farm.jobs.lease("worker", limit=1)
    farm.clock.advance(100 * DAY)

    assert expirer(farm).expire() == 0
    assert expirer(farm).sweep() == 0
    assert farm.jobs.get(job_id).state is JobState.PROCESSING
    assert len(keys(farm, job_id)) == 4


def test_an_untouched_paused_job_expires(farm: Farm):
    job_id = submit(farm, b"one")
    Controls(farm.jobs, farm.objects).pause(job_id)
    farm.clock.advance(8 * DAY)

    assert expirer(farm).expire() == 1
    assert keys(farm, job_id) == []


def test_a_job_touched_during_a_run_does_not_expire(farm: Farm):
    first, second = submit(farm, b"one"), submit(farm, b"two")
    controls = Controls(farm.jobs, farm.objects)
    for job_id in (first, second):
        controls.pause(job_id)
        farm.clock.advance(60)
    farm.clock.advance(8 * DAY)

    def touch(prefix: str) -> None:
        farm.objects.before(farm.objects.delete_prefix, None)
        controls.resume(second)
        controls.pause(second)

    farm.objects.before(farm.objects.delete_prefix, touch)

    assert expirer(farm).expire() == 1
    assert farm.jobs.get(first).state is JobState.EXPIRED
    assert farm.jobs.get(second).state is JobState.PAUSED
    assert object_keys.input_image(second, 0) in keys(farm, second)


def test_jobs_lost_during_a_sweep_are_not_swept(farm: Farm):
    job_id = end(farm, b"one")
    farm.clock.advance(7.5 * DAY)
    expirer_ = expirer(farm)

    def lose(prefix: str) -> None:
        farm.jobs.delete(job_id)
        farm.jobs.reconciled = False

    farm.objects.before(farm.objects.folders, lose)

    assert expirer_.sweep() == 0
    assert object_keys.result(job_id) in keys(farm, job_id)


def test_a_run_expires_a_bounded_number_of_jobs(farm: Farm):
    for _ in range(25):
        end(farm, b"one")
    farm.clock.advance(8 * DAY)

    assert [expirer(farm).expire() for _ in range(3)] == [20, 5, 0]
    assert farm.objects.objects == {}


def test_one_worker_at_a_time_expires_jobs(farm: Farm):
    end(farm, b"one")
    farm.clock.advance(8 * DAY)
    farm.jobs.acquire("expiry", "another", 60)

    assert expirer(farm).expire() == 0
    farm.clock.advance(61)
    assert expirer(farm).expire() == 1


@pytest.mark.parametrize("reached", [0, 1, 2, 3, 4])
def test_others_finish_the_expiry_of_a_worker_that_died(farm: Farm, reached: int):
    job_id = end(farm, b"one")
    farm.clock.advance(8 * DAY)
    calls = itertools.count(1)

    def die(key: str) -> None:
        if next(calls) > reached:
            raise ObjectStoreUnavailable

    farm.objects.before(farm.objects.delete, die)
    with pytest.raises(ObjectStoreUnavailable):
        expirer(farm).expire()
    assert keys(farm, job_id) != []
    farm.objects.before(farm.objects.delete, None)

    expirer(farm).expire()
    expirer(farm).sweep()

    assert keys(farm, job_id) == []
    assert farm.jobs.get(job_id).state is JobState.EXPIRED


def test_the_record_is_deleted_after_another_retention(farm: Farm):
    job_id, kept = end(farm, b"one"), submit(farm, b"two")
    farm.jobs.lease("worker", limit=1)
    farm.clock.advance(7.1 * DAY)
    expirer(farm).expire()
    farm.clock.advance(6.8 * DAY)
    expirer(farm).sweep()
    assert farm.jobs.get(job_id).state is JobState.EXPIRED

    farm.clock.advance(0.2 * DAY)
    assert expirer(farm).sweep() == 1

    with pytest.raises(JobNotFound):
        farm.jobs.get(job_id)
    assert farm.jobs.get(kept).state is JobState.PROCESSING


def test_uploads_without_a_job_are_deleted_when_the_last_is_old(farm: Farm):
    job_id = new_job_id()
    farm.objects.put(object_keys.input_image(job_id, 0), b"x")
    farm.clock.advance(5 * DAY)
    farm.objects.put(object_keys.input_image(job_id, 1), b"x")
    farm.clock.advance(5 * DAY)

    assert expirer(farm).sweep() == 0
    assert len(keys(farm, job_id)) == 2
    farm.clock.advance(3 * DAY)
    assert expirer(farm).sweep() == 1
    assert keys(farm, job_id) == []


def test_nothing_is_swept_while_the_job_store_may_have_lost_something(farm: Farm):
    job_id = end(farm, b"one")
    farm.clock.advance(30 * DAY)
    farm.jobs.delete(job_id)
    farm.jobs.reconciled = False

    assert expirer(farm).sweep() == 0
    assert keys(farm, job_id) != []


def test_idempotency_records_are_deleted_after_a_day(farm: Farm):
    record = object_keys.idempotency_record("a" * 64)
    farm.objects.put(record, b"{}")
    farm.clock.advance(DAY - 1)
    expirer(farm).sweep()
    kept = farm.objects.exists(record)
    farm.clock.advance(2)
    expirer(farm).sweep()

    assert kept
    assert not farm.objects.exists(record)


def test_keys_outside_of_jobs_are_never_swept(farm: Farm):
    for key in ("jobs/loose", "jobs/not-a-job/x", "keys/abc.json", "elsewhere"):
        farm.objects.put(key, b"x")
    farm.clock.advance(1000 * DAY)

    assert expirer(farm).sweep() == 0
    assert len(farm.objects.objects) == 4


@pytest.mark.parametrize(("hours", "pause", "long_pause"), [(168, 60, 3600), (0.01, 1, 3.6), (1, 36, 360)])
def test_the_interval_of_sweeps_follows_from_the_retention(
    farm: Farm, hours: float, pause: float, long_pause: float
):
    mine = expirer(farm, retention_seconds=hours * 3600)

    assert (mine.pause, mine.long_pause) == pytest.approx((pause, long_pause))
