from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.control import Controls
from shared.errors import JobBusy, JobStoreFull
from shared.jobs import object_keys
from shared.jobs.failure import decode_failure
from shared.jobs.job import JobState
from tests.fakes import FakeClock, FakeTickets
from tests.unit.worker.conftest import WorkerHarness
from worker.parent.maintenance import Maintenance


def make_maintenance(
    harness: WorkerHarness,
    tickets: FakeTickets,
    *,
    name: str = "worker",
    slots: int = 2,
    clock: Callable[[], float] = time.monotonic,
) -> Maintenance:
    harness.jobs.mark_reconciled()
    return harness.maintenance(tickets, name=name, slots=slots, clock=clock)


def test_lost_tickets_are_replaced_and_no_more_are_added(harness: WorkerHarness):
    harness.submit(*(b"x" for _ in range(40)))
    tickets = FakeTickets()
    maintenance = make_maintenance(harness, tickets)

    maintenance.run()
    maintenance.run()

    assert tickets.depth() == 4


def test_a_small_job_gets_no_more_tickets_than_it_has_leases(harness: WorkerHarness):
    harness.submit(*(b"x" for _ in range(5)))
    tickets = FakeTickets()

    make_maintenance(harness, tickets, slots=16).run()

    assert tickets.depth() == 2


def test_no_work_means_no_tickets(harness: WorkerHarness):
    tickets = FakeTickets()

    make_maintenance(harness, tickets).run()

    assert tickets.depth() == 0


def test_one_worker_at_a_time_maintains_but_all_are_counted(harness: WorkerHarness):
    harness.submit(*(b"x" for _ in range(400)))
    first, second = FakeTickets(), FakeTickets()

    make_maintenance(harness, first, name="a", slots=2).run()
    make_maintenance(harness, second, name="b", slots=3).run()

    assert (first.depth(), second.depth()) == (4, 0)
    assert harness.jobs.slots() == 5


def test_the_images_of_a_dead_worker_are_released_and_get_tickets(harness: WorkerHarness):
    harness.submit(b"one", b"two")
    harness.jobs.lease("dead", limit=2)
    tickets = FakeTickets()
    maintenance = make_maintenance(harness, tickets)
    maintenance.run()
    assert tickets.depth() == 0

    harness.clock.advance(16)
    maintenance.run()

    assert tickets.depth() >= 1


def test_after_an_outage_of_the_job_store_workers_get_time_to_renew_their_leases(harness: WorkerHarness):
    """After an outage longer than a lease, all leases in the job store have expired."""
    harness.submit(b"one", b"two")
    lease = harness.jobs.lease("alive", limit=2)
    assert lease is not None
    now = FakeClock()
    maintenance = make_maintenance(harness, FakeTickets(), clock=now)
    maintenance.run()

    for clock in (now, harness.clock):
        clock.advance(60)
    maintenance.run()
    assert harness.jobs.holds(lease)
    assert harness.jobs.renew(lease, in_hand=0) is JobState.PROCESSING

    # Once it runs every second again, a lease without renewals expires.
    for _ in range(30):
        for clock in (now, harness.clock):
            clock.advance(1)
        maintenance.run()
    assert not harness.jobs.holds(lease)


def test_no_lease_expires_just_after_a_restart_of_the_job_store(harness: WorkerHarness):
    harness.submit(b"one", b"two")
    lease = harness.jobs.lease("alive", limit=2)
    assert lease is not None
    maintenance = make_maintenance(harness, FakeTickets())
    harness.clock.advance(60)
    harness.jobs.reconciled = False

    maintenance.run()

    assert harness.jobs.holds(lease)


def test_a_full_broker_is_logged_once_and_stops_nothing(
    harness: WorkerHarness, caplog: pytest.LogCaptureFixture
):
    class Full(FakeTickets):
        def publish(self, count: int, model: str = "") -> None:
            raise JobStoreFull

    harness.submit(b"one", b"two")
    lease = harness.jobs.lease("dead", limit=1)
    maintenance = make_maintenance(harness, Full())

    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            harness.clock.advance(1)
            maintenance.run()

    assert lease is not None
    assert not harness.jobs.holds(lease)
    levels = [record.levelname for record in caplog.records if getattr(record, "action", None) == "top_up"]
    assert levels == ["WARNING"]


def test_the_failure_of_an_image_without_attempts_left_is_stored(harness: WorkerHarness):
    job_id = harness.submit(b"one", b"two")
    for _ in range(3):
        lease = harness.jobs.lease("dead", limit=1)
        assert lease is not None
        harness.jobs.renew(lease, in_hand=0)
        harness.clock.advance(60)
        harness.jobs.reap()
        harness.clock.advance(60)
    maintenance = make_maintenance(harness, FakeTickets())

    assert maintenance.write_failures() == 1
    assert maintenance.write_failures() == 0
    assert decode_failure(harness.objects.get(object_keys.failure(job_id, 0))).code == "worker_crashed"


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_failure_withdrawn_by_a_retry_is_not_written(harness: WorkerHarness, moment: str):
    """If it were written after the retry, the image would count as failed after a loss of Redis."""
    job_id = harness.submit(b"one", b"bug")
    maintenance, controls = (
        make_maintenance(harness, FakeTickets()),
        Controls(harness.jobs, harness.objects, patience=0.0),
    )
    while harness.jobs.get(job_id).state is not JobState.FINALIZING:
        harness.child().work(60)
        harness.clock.advance(60)
    maintenance.finalize_all()
    looks = itertools.count(1)

    def retry_meanwhile(*, limit: int = 100) -> None:
        if next(looks) == (1 if moment == "before" else 2):
            with suppress(JobBusy):
                controls.retry(job_id)

    harness.jobs.after(harness.jobs.unwritten_failures, retry_meanwhile)
    maintenance.write_failures()

    assert harness.jobs.get(job_id).state is (JobState.QUEUED if moment == "before" else JobState.PARTIAL)
    assert harness.objects.exists(object_keys.failure(job_id, 1)) is (moment == "during")


def test_all_waiting_jobs_are_finalised(harness: WorkerHarness):
    jobs = [harness.submit(b"one"), harness.submit(b"corrupt")]
    harness.child().work(60)

    assert make_maintenance(harness, FakeTickets()).finalize_all() == 2
    assert [harness.jobs.get(job_id).state for job_id in jobs] == [JobState.SUCCEEDED, JobState.FAILED]


def test_a_stopped_worker_is_no_longer_counted(harness: WorkerHarness):
    maintenance = make_maintenance(harness, FakeTickets())
    maintenance.run()

    maintenance.unregister()

    assert harness.jobs.slots() == 0


def test_a_process_without_slots_maintains_and_is_no_worker(harness: WorkerHarness):
    harness.submit(*(b"x" for _ in range(400)))
    make_maintenance(harness, FakeTickets(), name="worker", slots=2).run()
    harness.jobs.acquire("maintenance", "worker", 0.0)
    tickets = FakeTickets()

    make_maintenance(harness, tickets, name="housekeeper", slots=0).run()

    assert tickets.depth() == 4
    assert set(harness.jobs.totals().workers) == {"worker"}


def test_a_process_that_stops_lets_another_maintain_at_once(harness: WorkerHarness):
    first, tickets = make_maintenance(harness, FakeTickets(), name="a", slots=0), FakeTickets()
    first.run()
    first.unregister()
    harness.submit(*(b"x" for _ in range(400)))

    make_maintenance(harness, tickets, name="b").run()

    assert tickets.depth() == 4
