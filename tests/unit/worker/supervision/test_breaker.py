from __future__ import annotations

import itertools
import logging
import multiprocessing
import time
from collections.abc import Callable

import pytest

from shared.errors import (
    JobStoreFull,
    JobStoreUnavailable,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
)
from tests.fakes import FakeClock
from tests.waiting import DEADLINE
from worker.supervision.breaker import FIRST, LONGEST, Breakers


class BreakerClock(FakeClock):
    """A clock that advances while a caller waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.advance(seconds)


@pytest.fixture
def clock() -> BreakerClock:
    return BreakerClock()


@pytest.fixture
def breakers(clock: BreakerClock) -> Breakers:
    return Breakers(clock=clock)


class FakeStore:
    """Raises its error while it has one; counts its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return "answer"


def recovers(store: FakeStore, after: int) -> Callable[[], str]:
    def call() -> str:
        if store.calls == after:
            store.error = None
        return store()

    return call


def test_a_result_is_returned_at_once_while_the_store_is_available(breakers: Breakers):
    breaker, store = breakers.objects, FakeStore()

    assert [breaker.call(store) for _ in range(100)] == ["answer"] * 100
    assert not breaker.is_open


@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_a_store_that_comes_back_in_time_is_waited_for(
    breakers: Breakers, clock: BreakerClock, error: Exception
):
    breaker, store = breakers.objects, FakeStore(error)

    assert breaker.call(recovers(store, after=3), seconds=60, wait=clock.sleep) == "answer"
    assert store.calls == 4
    assert not breaker.is_open


def test_a_store_that_stays_away_raises_after_the_time_limit(breakers: Breakers, clock: BreakerClock):
    store = FakeStore(ObjectStoreUnavailable("gone"))

    with pytest.raises(ObjectStoreUnavailable, match="gone"):
        breakers.objects.call(store, seconds=0.3, wait=clock.sleep)
    assert 0.3 <= sum(clock.waits) < 0.4
    assert 2 <= store.calls <= 4


def test_a_stopping_worker_does_not_wait(breakers: Breakers, clock: BreakerClock):
    store = FakeStore(ObjectStoreUnavailable())

    with pytest.raises(ObjectStoreUnavailable):
        breakers.objects.call(store, seconds=1000, give_up=lambda: True, wait=clock.sleep)
    assert (store.calls, clock.waits) == (1, [])


def test_while_the_breaker_is_open_other_callers_do_not_call(breakers: Breakers):
    breaker, away, other = breakers.jobs, FakeStore(JobStoreUnavailable()), FakeStore()
    with pytest.raises(JobStoreUnavailable):
        breaker.call(away)

    with pytest.raises(JobStoreUnavailable):
        breaker.call(other)

    assert (away.calls, other.calls) == (1, 0)


def test_pauses_grow_up_to_a_limit(breakers: Breakers, clock: BreakerClock):
    calls: list[float] = []

    def call() -> None:
        calls.append(clock())
        raise ObjectStoreUnavailable

    with pytest.raises(ObjectStoreUnavailable):
        breakers.objects.call(call, seconds=60, wait=clock.sleep)

    pauses = [after - before for before, after in itertools.pairwise(calls)]
    # A waiting caller may check slightly late.
    assert FIRST / 2 <= pauses[0] < FIRST + 0.1
    assert LONGEST / 2 <= pauses[-1] < max(pauses) + 0.1 < LONGEST + 0.2
    # A waiting caller checks at most a few dozen times per second.
    assert min(clock.waits) >= 0.02


def test_every_store_has_its_own_breaker(breakers: Breakers, clock: BreakerClock):
    with pytest.raises(JobStoreUnavailable):
        breakers.objects.call(FakeStore(JobStoreUnavailable()))

    assert not breakers.objects.is_open
    breakers.note(JobStoreUnavailable(), began=clock())
    assert (breakers.jobs.is_open, breakers.objects.is_open) == (True, False)


def test_a_store_that_is_full_is_not_away(breakers: Breakers, clock: BreakerClock):
    store = FakeStore(JobStoreFull())

    with pytest.raises(JobStoreFull):
        breakers.jobs.call(store, seconds=60, wait=clock.sleep)

    assert store.calls == 1
    assert not breakers.jobs.is_open


def test_a_not_found_error_closes_the_breaker(breakers: Breakers, clock: BreakerClock):
    breaker = breakers.objects
    with pytest.raises(ObjectStoreUnavailable):
        breaker.call(FakeStore(ObjectStoreUnavailable()))

    with pytest.raises(ObjectNotFound):
        breaker.call(FakeStore(ObjectNotFound()), seconds=10, wait=clock.sleep)

    assert not breaker.is_open


def test_a_probe_calls_only_while_the_breaker_is_open_and_closes_it(breakers: Breakers, clock: BreakerClock):
    breaker, ping = breakers.objects, FakeStore()
    breaker.probe(ping)
    assert ping.calls == 0

    breaker.note(ObjectStoreUnavailable(), began=clock())
    breaker.probe(ping)
    assert (ping.calls, breaker.is_open) == (0, True)
    clock.advance(FIRST)
    breaker.probe(ping)

    assert (ping.calls, breaker.is_open) == (1, False)


def test_a_long_outage_is_logged_in_two_lines_and_a_short_one_not_at_all(
    caplog: pytest.LogCaptureFixture, breakers: Breakers, clock: BreakerClock
):
    breaker = breakers.objects
    with caplog.at_level(logging.INFO):
        breaker.call(recovers(FakeStore(ObjectStoreUnavailable()), after=1), seconds=10, wait=clock.sleep)
        assert caplog.records == []

        store = FakeStore(ObjectStoreUnavailable("no answer"))
        with pytest.raises(ObjectStoreUnavailable):
            breaker.call(store, seconds=30, wait=clock.sleep)
        store.error = None
        breaker.call(store, seconds=10, wait=clock.sleep)

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "The object store (S3) is away; waiting for it. no answer"
    assert lines[1].startswith("The object store (S3) is back after ")
    assert len(lines) == 2


def _fail_once(breakers: Breakers) -> None:
    breakers.note(ObjectStoreUnavailable(), began=time.monotonic())


def test_all_children_share_the_state_of_a_breaker():
    breakers = Breakers()
    child = multiprocessing.get_context("fork").Process(target=_fail_once, args=(breakers,))

    child.start()
    child.join(DEADLINE)

    assert breakers.objects.is_open
    assert not breakers.jobs.is_open
