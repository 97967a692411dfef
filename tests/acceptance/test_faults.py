"""Poison, signals and outages: no image is lost, and none is charged for the fault of another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from bench.faults import Mode
from shared.errors import JobStoreFull
from shared.jobs.job import ImageState, JobState
from tests.acceptance.fleet import LEASE_SECONDS, Fleet, Worker
from tests.processes import is_alive
from tests.waiting import eventually


@pytest.fixture(scope="module")
def fleet(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers of one child each, for all these tests."""
    with Fleet(tmp_path_factory.mktemp("fleet"), environ) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def whole(fleet: Fleet) -> None:
    """Every test begins with both servers and both workers running."""
    fleet.s3_proxy.set(Mode.PASS)
    fleet.redis_proxy.set(Mode.PASS)
    fleet.run_only("one", "two")


def slow(count: int, seconds: float = 0.1) -> list[bytes]:
    return [b"sleep %g %d" % (seconds, number) for number in range(count)]


# --- poison -------------------------------------------------------------------------


#: The failure of each kind of poison.
POISON = {
    b"crash": "worker_crashed",
    b"hang": "timed_out",
    b"fill_memory": "out_of_memory",
    b"hold_gil": "worker_crashed",
}


@pytest.mark.parametrize(
    "poison",
    [
        {0: b"crash", 15: b"hang"},
        pytest.param(
            {0: b"crash", 9: b"hang", 10: b"crash", 16: b"fill_memory", 23: b"hold_gil"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["two", "all"],
)
def test_poison_fails_alone_wherever_it_is_and_its_neighbours_are_not_charged(
    fleet: Fleet, poison: dict[int, bytes]
) -> None:
    """The poison is first, in the middle, twice in one lease, and last; a lease has eight images.

    While native code holds the GIL, not even the lease renewer runs, so the parent must kill the child.
    """
    pictures = slow(24, 0.01)
    for index, picture in poison.items():
        pictures[index] = picture

    job_id = fleet.submit(*pictures)
    job = fleet.wait_for_end(job_id, seconds=120)

    assert job.state is JobState.PARTIAL
    assert fleet.failures(job_id) == {index: POISON[picture] for index, picture in poison.items()}
    # Each was tried three times; the third charge ended it.
    assert fleet.charged(job_id) == dict.fromkeys(poison, 2)
    fleet.check_result(job_id, 24, failed=list(poison))


# --- workers that stop, or are stopped ----------------------------------------------


def holder(fleet: Fleet, job_id: str) -> Worker:
    """Return the worker that holds all images of a job."""
    leases: list[Any] = eventually(lambda: fleet.redis.hvals(f"{{fathom}}:job:{job_id}:held"))
    name: Any = fleet.redis.hget(f"{{fathom}}:lease:{leases[0].decode()}", "worker")
    child = int(name.decode().rpartition(":")[2])
    return next(worker for worker in fleet.workers.values() if child in worker.children)


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM],
        pytest.param([signal.SIGTERM, signal.SIGTERM, signal.SIGQUIT], marks=pytest.mark.slow),
        [signal.SIGINT, signal.SIGINT],
    ],
    ids=lambda signals: "+".join(each.name for each in signals),
)
def test_a_stopping_worker_releases_its_leases_at_once(fleet: Fleet, signals: list[signal.Signals]) -> None:
    """The current image takes too long to wait for, so it is released too, without a charge."""
    job_id = fleet.submit(b"sleep 1.8 first", *slow(5, 0.01))
    first = holder(fleet, job_id)
    eventually(lambda: _in_hand(fleet, job_id) == 0)

    below = first.children
    for number in signals:
        first.signal(number)
        # Two signals of a kind at the same time may arrive as one.
        time.sleep(0.1)
    job = fleet.wait_for_end(job_id)
    assert job.state is JobState.SUCCEEDED
    # If its lease had expired, the current image would have been charged.
    assert fleet.charged(job_id) == {}
    fleet.check_result(job_id, 6)
    assert first.process.wait(60) is not None
    eventually(lambda: not any(is_alive(child) for child in below))


def _in_hand(fleet: Fleet, job_id: str) -> int | None:
    leases: list[Any] = fleet.redis.hvals(f"{{fathom}}:job:{job_id}:held")
    hands = [fleet.redis.hget(f"{{fathom}}:lease:{lease.decode()}", "hand") for lease in set(leases)]
    return next((int(hand) for hand in hands if hand), None)


def lose_a_ticket(fleet: Fleet, worker: Worker) -> str:
    """Submit a job with a ticket that goes to the socket of a stopped worker; return the job.

    A worker that was stopped between two polls takes no ticket; then it tries again.
    """
    for _ in range(20):
        worker.signal_all(signal.SIGSTOP)
        job_id = fleet.submit(*slow(10, 0.01))
        with suppress(AssertionError):
            eventually(lambda: fleet.tickets.depth() < 2, seconds=2)
            return job_id
        worker.signal_all(signal.SIGCONT)
        fleet.wait_for_end(job_id)
    pytest.fail("The worker took no ticket.")


def test_a_ticket_lost_in_the_pop_window_delays_but_loses_no_job(fleet: Fleet) -> None:
    """The socket of the stopped worker takes a ticket that is never read."""
    (one,) = fleet.run_only("one")
    job_id = lose_a_ticket(fleet, one)
    one.end()

    fleet.launch("two")
    job = fleet.wait_for_end(job_id)

    assert job.state is JobState.SUCCEEDED
    assert fleet.charged(job_id) == {}


# --- servers that go away -------------------------------------------------------------


#: Seconds of an outage: longer than a lease, and than an image may take.
AWAY = 1.7 * LEASE_SECONDS


def disturb_s3(fleet: Fleet, mode: Mode, seconds: float) -> str:
    """Disturb the traffic to S3 in the middle of a job; return the job once S3 works again."""
    job_id = fleet.submit(*slow(40, 0.05))
    fleet.wait_for(job_id, 4)
    fleet.s3_proxy.set(mode)
    time.sleep(seconds)
    fleet.s3_proxy.set(Mode.PASS)
    return job_id


@pytest.mark.parametrize(
    "mode", [Mode.REFUSE, Mode.ANSWER_503, pytest.param(Mode.HANG, marks=pytest.mark.slow)]
)
def test_an_outage_of_s3_fails_no_image_and_work_continues(fleet: Fleet, mode: Mode) -> None:
    """The outage is longer than a lease, and than an image may take."""
    before = len(fleet.exchanges)
    waits_before = {name: len(worker.lines("wait")) for name, worker in fleet.workers.items()}
    job_id = disturb_s3(fleet, mode, AWAY)
    job = fleet.wait_for_end(job_id)

    assert job.state is JobState.SUCCEEDED
    assert fleet.charged(job_id) == {}
    fleet.check_result(job_id, 40)
    # All workers backed off; without pauses there would be thousands of requests.
    refused = [e for e in fleet.exchanges[before:] if e.status is None and e.answered]
    assert len(refused) < 200
    for name, worker in fleet.workers.items():
        assert len(worker.lines("wait")) - waits_before[name] < 40


def test_lost_and_slow_responses_fail_no_image(fleet: Fleet) -> None:
    job_id = fleet.submit(*slow(16, 0.1))
    fleet.wait_for(job_id, 2)
    fleet.s3_proxy.set(Mode.DROP_RESPONSE, methods={"PUT"}, times=5)
    eventually(lambda: sum(e.status == 200 and not e.answered for e in fleet.exchanges) >= 5)
    fleet.s3_proxy.set(Mode.SLOW, latency=0.2, bytes_per_second=20_000)

    job = fleet.wait_for_end(job_id)

    assert job.state is JobState.SUCCEEDED
    assert fleet.charged(job_id) == {}
    fleet.check_result(job_id, 16)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG])
def test_an_outage_of_redis_fails_no_image(fleet: Fleet, mode: Mode) -> None:
    job_id = fleet.submit(*slow(40, 0.05))
    fleet.wait_for(job_id, 4)

    fleet.redis_proxy.set(mode)
    time.sleep(AWAY)
    fleet.redis_proxy.set(Mode.PASS)

    job = fleet.wait_for_end(job_id)
    assert job.state is JobState.SUCCEEDED
    assert fleet.charged(job_id) == {}
    fleet.check_result(job_id, 40)


def test_repeated_kills_of_valkey_fail_no_image(fleet: Fleet) -> None:
    job_id = fleet.submit(*slow(60, 0.05))
    for round in range(2):
        fleet.wait_for(job_id, 4 + 10 * round)
        os.kill(fleet.valkey.pid, signal.SIGKILL)
        eventually(lambda: not fleet.valkey.is_running())
        fleet.valkey.start()

    job = fleet.wait_for_end(job_id)

    assert job.state is JobState.SUCCEEDED
    assert fleet.charged(job_id) == {}
    fleet.check_result(job_id, 60)


def test_after_a_flush_jobs_are_restored_and_nothing_is_done_twice(fleet: Fleet) -> None:
    ended = fleet.submit(b"one", b"two")
    fleet.wait_for_end(ended)
    paused, canceled = fleet.submit(*slow(4, 1.0)), fleet.submit(*slow(4, 1.0))
    fleet.controls.pause(paused)
    fleet.controls.cancel(canceled)
    job_id = fleet.submit(b"bad", *slow(40, 0.1))
    fleet.wait_for(job_id, 20)
    done = {image.index for image in fleet.jobs.images(job_id, state=ImageState.SUCCEEDED, limit=100).items}

    fleet.redis.flushall()
    job = fleet.wait_for_end(job_id)

    assert job.state is JobState.PARTIAL
    assert fleet.failures(job_id) == {0: "image_corrupt"}
    assert {index: times for index, times in fleet.times_rendered(job_id).items() if index in done} == (
        dict.fromkeys(done, 1)
    )
    assert fleet.jobs.get(ended).state is JobState.SUCCEEDED
    assert fleet.jobs.get(paused).state is JobState.PAUSED
    assert fleet.wait_for_end(canceled).state is JobState.CANCELED
    fleet.check_result(job_id, 41, failed=[0])
    fleet.controls.delete(paused)


def test_a_full_redis_stops_neither_running_jobs_nor_workers(fleet: Fleet) -> None:
    job_id = fleet.submit(*slow(40, 0.05))
    fleet.wait_for(job_id, 4)
    workers = list(fleet.workers.values())

    fleet.redis.config_set("maxmemory", "1mb")
    job = fleet.wait_for_end(job_id)
    with pytest.raises(JobStoreFull):
        fleet.submit(b"one")
    # Idle workers must still run when there is memory again.
    fleet.redis.config_set("maxmemory", "0")
    after = fleet.wait_for_end(fleet.submit(b"one", b"two"))

    assert (job.state, after.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert fleet.charged(job_id) == {}
    assert all(is_alive(worker.process.pid) for worker in workers)
    fleet.check_result(job_id, 40)
