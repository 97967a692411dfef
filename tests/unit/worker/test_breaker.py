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
from tests.waiting import eventually
from worker.breaker import FIRST, LONGEST, Breakers


class Store:
    """Raises its error as long as it has one; says when it was called."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[float] = []

    def __call__(self) -> str:
        self.calls.append(time.monotonic())
        if self.error is not None:
            raise self.error
        return "answer"


def comes_back(store: Store, after: int) -> Callable[[], str]:
    def call() -> str:
        if len(store.calls) == after:
            store.error = None
        return store()

    return call


def test_an_answer_is_passed_on_and_a_store_that_is_there_is_never_waited_for():
    breaker, store = Breakers().objects, Store()

    assert [breaker.call(store) for _ in range(100)] == ["answer"] * 100
    assert not breaker.is_open


@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_a_store_that_comes_back_in_time_is_waited_for(error: Exception):
    breaker, store = Breakers().objects, Store(error)

    assert breaker.call(comes_back(store, after=3), seconds=60) == "answer"
    assert len(store.calls) == 4
    assert not breaker.is_open


def test_one_that_stays_away_raises_once_the_time_is_over():
    store = Store(ObjectStoreUnavailable("gone"))

    with pytest.raises(ObjectStoreUnavailable, match="gone"):
        Breakers().objects.call(store, seconds=0.3)
    assert 1 <= len(store.calls) <= 6


@pytest.mark.timeout(60)
def test_who_leaves_does_not_wait():
    store = Store(ObjectStoreUnavailable())

    with pytest.raises(ObjectStoreUnavailable):
        Breakers().objects.call(store, seconds=1000, give_up=lambda: True)
    assert len(store.calls) == 1


def test_while_it_is_open_others_do_not_call_at_all():
    breaker, away, other = Breakers().jobs, Store(JobStoreUnavailable()), Store()
    with pytest.raises(JobStoreUnavailable):
        breaker.call(away)

    with pytest.raises(JobStoreUnavailable):
        breaker.call(other)

    assert (len(away.calls), len(other.calls)) == (1, 0)


class Clock:
    """The time of a breaker, which passes while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("worker.breaker.time", clock)
    return clock


def test_pauses_grow_and_stay_bounded(clock: Clock):
    calls: list[float] = []

    def call() -> None:
        calls.append(clock.now)
        raise ObjectStoreUnavailable

    with pytest.raises(ObjectStoreUnavailable):
        Breakers().objects.call(call, seconds=60, wait=clock.sleep)

    pauses = [after - before for before, after in itertools.pairwise(calls)]
    # Whoever waits may look a moment late.
    assert FIRST / 2 <= pauses[0] < FIRST + 0.1
    assert LONGEST / 2 <= pauses[-1] < max(pauses) + 0.1 < LONGEST + 0.2
    # Nobody who waits looks more often than some dozens of times a second.
    assert min(clock.waits) >= 0.02


def test_the_stores_have_breakers_of_their_own():
    breakers = Breakers()

    with pytest.raises(JobStoreUnavailable):
        breakers.objects.call(Store(JobStoreUnavailable()))

    assert not breakers.objects.is_open
    breakers.note(JobStoreUnavailable(), began=time.monotonic())
    assert (breakers.jobs.is_open, breakers.objects.is_open) == (True, False)


def test_a_store_that_is_full_is_not_away():
    breakers, store = Breakers(), Store(JobStoreFull())

    with pytest.raises(JobStoreFull):
        breakers.jobs.call(store, seconds=60)

    assert len(store.calls) == 1
    assert not breakers.jobs.is_open


def test_an_answer_that_something_is_missing_closes_it():
    breaker = Breakers().objects
    with pytest.raises(ObjectStoreUnavailable):
        breaker.call(Store(ObjectStoreUnavailable()))

    with pytest.raises(ObjectNotFound):
        breaker.call(Store(ObjectNotFound()), seconds=10)

    assert not breaker.is_open


def test_a_probe_calls_only_while_it_is_open_and_closes_it():
    breaker, ping = Breakers().objects, Store()
    breaker.probe(ping)
    assert ping.calls == []

    breaker.note(ObjectStoreUnavailable(), began=time.monotonic())
    eventually(lambda: breaker.probe(ping) or not breaker.is_open)

    assert len(ping.calls) == 1


def test_a_long_absence_is_told_in_two_lines_and_a_short_one_in_none(
    caplog: pytest.LogCaptureFixture, clock: Clock
):
    breaker = Breakers().objects
    with caplog.at_level(logging.INFO):
        breaker.call(comes_back(Store(ObjectStoreUnavailable()), after=1), seconds=10, wait=clock.sleep)
        assert caplog.records == []

        store = Store(ObjectStoreUnavailable("no answer"))
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


def test_what_a_child_finds_out_all_know():
    breakers = Breakers()
    child = multiprocessing.get_context("fork").Process(target=_fail_once, args=(breakers,))

    child.start()
    child.join(30)

    assert breakers.objects.is_open
    assert not breakers.jobs.is_open
