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
from tests.unit.worker.conftest import Farm
from worker.parent.maintenance import Maintenance


def make_maintenance(
    farm: Farm,
    tickets: FakeTickets,
    *,
    name: str = "worker",
    slots: int = 2,
    clock: Callable[[], float] = time.monotonic,
) -> Maintenance:
    farm.jobs.mark_reconciled()
    return farm.maintenance(tickets, name=name, slots=slots, clock=clock)


def test_lost_tickets_are_replaced_and_no_more_are_added(farm: Farm):
    farm.submit(*(b"x" for _ in range(40)))
    tickets = FakeTickets()
    maintenance = make_maintenance(farm, tickets)

    maintenance.run()
    maintenance.run()

    assert tickets.depth() == 4


def test_a_small_job_gets_no_more_tickets_than_it_has_leases(farm: Farm):
    farm.submit(*(b"x" for _ in range(5)))
    tickets = FakeTickets()

    make_maintenance(farm, tickets, slots=16).run()

    assert tickets.depth() == 2


def test_no_work_means_no_tickets(farm: Farm):
    tickets = FakeTickets()

    make_maintenance(farm, tickets).run()

    assert tickets.depth() == 0


def test_one_worker_at_a_time_maintains_but_all_are_counted(farm: Farm):
    farm.submit(*(b"x" for _ in range(400)))
    first, second = FakeTickets(), FakeTickets()

    make_maintenance(farm, first, name="a", slots=2).run()
    make_maintenance(farm, second, name="b", slots=3).run()

    assert (first.depth(), second.depth()) == (4, 0)
    assert farm.jobs.slots() == 5


def test_the_images_of_a_dead_worker_are_released_and_get_tickets(farm: Farm):
    farm.submit(b"one", b"two")
    farm.jobs.lease("dead", limit=2)
    tickets = FakeTickets()
    maintenance = make_maintenance(farm, tickets)
    maintenance.run()
    assert tickets.depth() == 0

    farm.clock.advance(16)
    maintenance.run()

    assert tickets.depth() >= 1


def test_after_an_outage_of_the_job_store_workers_get_time_to_renew_their_leases(farm: Farm):
    """After an outage longer than a lease, all leases in the job store have expired."""
    farm.submit(b"one", b"two")
    lease = farm.jobs.lease("alive", limit=2)
    assert lease is not None
    now = FakeClock()
    maintenance = make_maintenance(farm, FakeTickets(), clock=now)
    maintenance.run()

    for clock in (now, farm.clock):
        clock.advance(60)
    maintenance.run()
    assert farm.jobs.holds(lease)
    assert farm.jobs.renew(lease, in_hand=0) is JobState.PROCESSING

    # Once it runs every second again, a lease without renewals expires.
    for _ in range(30):
        for clock in (now, farm.clock):
            clock.advance(1)
        maintenance.run()
    assert not farm.jobs.holds(lease)


def test_no_lease_expires_just_after_a_restart_of_the_job_store(farm: Farm):
    farm.submit(b"one", b"two")
    lease = farm.jobs.lease("alive", limit=2)
    assert lease is not None
    maintenance = make_maintenance(farm, FakeTickets())
    farm.clock.advance(60)
    farm.jobs.reconciled = False

    maintenance.run()

    assert farm.jobs.holds(lease)


def test_a_full_broker_is_logged_once_and_stops_nothing(farm: Farm, caplog: pytest.LogCaptureFixture):
    class Full(FakeTickets):
        def publish(self, count: int) -> None:
            raise JobStoreFull

    farm.submit(b"one", b"two")
    lease = farm.jobs.lease("dead", limit=1)
    maintenance = make_maintenance(farm, Full())

    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            farm.clock.advance(1)
            maintenance.run()

    assert lease is not None
    assert not farm.jobs.holds(lease)
    told = [record.levelname for record in caplog.records if getattr(record, "action", None) == "top_up"]
    assert told == ["WARNING"]


def test_the_failure_of_an_image_without_attempts_left_is_stored(farm: Farm):
    job_id = farm.submit(b"one", b"two")
    for _ in range(3):
        lease = farm.jobs.lease("dead", limit=1)
        assert lease is not None
        farm.jobs.renew(lease, in_hand=0)
        farm.clock.advance(60)
        farm.jobs.reap()
        farm.clock.advance(60)
    maintenance = make_maintenance(farm, FakeTickets())

    assert maintenance.write_failures() == 1
    assert maintenance.write_failures() == 0
    assert decode_failure(farm.objects.get(object_keys.failure(job_id, 0))).code == "worker_crashed"


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_failure_withdrawn_by_a_retry_is_not_written(farm: Farm, moment: str):
    """If it were written after the retry, the image would count as failed after a loss of Redis."""
    job_id = farm.submit(b"one", b"bug")
    maintenance, controls = (
        make_maintenance(farm, FakeTickets()),
        Controls(farm.jobs, farm.objects, patience=0.0),
    )
    while farm.jobs.get(job_id).state is not JobState.FINALIZING:
        farm.child().work(60)
        farm.clock.advance(60)
    maintenance.finalize_all()
    looks = itertools.count(1)

    def retry_meanwhile(*, limit: int = 100) -> None:
        if next(looks) == (1 if moment == "before" else 2):
            with suppress(JobBusy):
                controls.retry(job_id)

    farm.jobs.after(farm.jobs.unwritten_failures, retry_meanwhile)
    maintenance.write_failures()

    assert farm.jobs.get(job_id).state is (JobState.QUEUED if moment == "before" else JobState.PARTIAL)
    assert farm.objects.exists(object_keys.failure(job_id, 1)) is (moment == "during")


def test_all_waiting_jobs_are_finalised(farm: Farm):
    jobs = [farm.submit(b"one"), farm.submit(b"corrupt")]
    farm.child().work(60)

    assert make_maintenance(farm, FakeTickets()).finalize_all() == 2
    assert [farm.jobs.get(job_id).state for job_id in jobs] == [JobState.SUCCEEDED, JobState.FAILED]


def test_a_stopped_worker_is_no_longer_counted(farm: Farm):
    maintenance = make_maintenance(farm, FakeTickets())
    maintenance.run()

    maintenance.unregister()

    assert farm.jobs.slots() == 0
