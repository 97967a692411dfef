from __future__ import annotations

import logging
import threading

import pytest

from shared.errors import ObjectStoreUnavailable
from shared.jobs import JobState
from tests.fakes import FakeTickets
from tests.unit.worker.conftest import Farm
from worker.supervisor import Housekeeper, Rounds


def housekeeper(farm: Farm, tickets: FakeTickets, *, name: str = "worker", slots: int = 2) -> Housekeeper:
    return Housekeeper(
        name=name, slots=slots, lease_images=4, jobs=farm.jobs, objects=farm.objects, tickets=tickets
    )


def test_lost_tickets_are_made_up_for_and_not_more(farm: Farm):
    farm.submit(*(b"x" for _ in range(40)))
    tickets = FakeTickets()
    keeper = housekeeper(farm, tickets)

    keeper.keep_house()
    keeper.keep_house()

    assert tickets.depth() == 4


def test_a_small_job_gets_no_more_tickets_than_it_has_leases(farm: Farm):
    farm.submit(*(b"x" for _ in range(5)))
    tickets = FakeTickets()

    housekeeper(farm, tickets, slots=16).keep_house()

    assert tickets.depth() == 2


def test_no_work_means_no_tickets(farm: Farm):
    tickets = FakeTickets()

    housekeeper(farm, tickets).keep_house()

    assert tickets.depth() == 0


def test_one_worker_at_a_time_keeps_house_but_all_are_counted(farm: Farm):
    farm.submit(*(b"x" for _ in range(400)))
    first, second = FakeTickets(), FakeTickets()

    housekeeper(farm, first, name="a", slots=2).keep_house()
    housekeeper(farm, second, name="b", slots=3).keep_house()

    assert (first.depth(), second.depth()) == (4, 0)
    assert farm.jobs.slots() == 5


def test_the_images_of_a_dead_worker_are_taken_back_and_given_tickets(farm: Farm):
    farm.submit(b"one", b"two")
    farm.jobs.lease("dead", limit=2)
    tickets = FakeTickets()
    keeper = housekeeper(farm, tickets)
    keeper.keep_house()
    assert tickets.depth() == 0

    farm.clock.advance(16)
    keeper.keep_house()

    assert tickets.depth() >= 1


def test_all_jobs_that_wait_are_finalised(farm: Farm):
    jobs = [farm.submit(b"one"), farm.submit(b"corrupt")]
    farm.child().work(60)

    assert housekeeper(farm, FakeTickets()).finalize_all() == 2
    assert [farm.jobs.get(job_id).state for job_id in jobs] == [JobState.SUCCEEDED, JobState.FAILED]


def test_a_worker_that_leaves_is_not_counted_any_more(farm: Farm):
    keeper = housekeeper(farm, FakeTickets())
    keeper.keep_house()

    keeper.leave()

    assert farm.jobs.slots() == 0


@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ZeroDivisionError()])
def test_a_round_that_fails_is_logged_and_the_next_one_comes(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    came_again = threading.Event()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        came_again.set()

    rounds = Rounds("test", call, seconds=0.001)
    with caplog.at_level(logging.WARNING):
        rounds.start()
        assert came_again.wait(10)
        rounds.stop()

    assert caplog.records[0].levelno >= logging.WARNING
