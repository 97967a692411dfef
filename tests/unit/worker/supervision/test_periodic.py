from __future__ import annotations

import logging
import threading
import time

import pytest

from shared.errors import JobStoreUnavailable, ObjectStoreUnavailable
from tests.waiting import DEADLINE
from worker.supervision.breaker import Breakers
from worker.supervision.periodic import PeriodicThread


@pytest.mark.parametrize(("error", "lines"), [(ObjectStoreUnavailable(), 0), (ZeroDivisionError(), 1)])
def test_a_failed_call_does_not_end_the_thread(
    error: Exception, lines: int, caplog: pytest.LogCaptureFixture
):
    came_again = threading.Event()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        came_again.set()

    thread = PeriodicThread("test", call, seconds=0.001)
    with caplog.at_level(logging.WARNING):
        thread.start()
        assert came_again.wait(DEADLINE)
        thread.stop()

    # The breaker logs that a store is away.
    assert len(caplog.records) == lines


def test_nothing_is_called_while_a_needed_store_is_away():
    breakers, came = Breakers(), threading.Event()
    breakers.note(ObjectStoreUnavailable(), began=time.monotonic())
    thread = PeriodicThread("test", came.set, seconds=0.001, breakers=breakers, needs=(breakers.objects,))
    beside = threading.Event()
    beside_thread = PeriodicThread(
        "beside", beside.set, seconds=0.001, breakers=breakers, needs=(breakers.jobs,)
    )

    thread.start()
    beside_thread.start()
    assert beside.wait(DEADLINE)
    assert not came.is_set()
    breakers.objects.call(lambda: None, seconds=DEADLINE)

    assert came.wait(DEADLINE)
    thread.stop()
    beside_thread.stop()


def test_a_failure_opens_the_breaker_of_its_store():
    breakers, came = Breakers(), threading.Event()

    def call() -> None:
        came.set()
        raise ObjectStoreUnavailable

    thread = PeriodicThread("test", call, seconds=0.001, breakers=breakers, needs=(breakers.objects,))
    thread.start()
    assert came.wait(DEADLINE)
    thread.stop()

    assert (breakers.jobs.is_open, breakers.objects.is_open) == (False, True)


def test_a_thread_turns_also_while_a_needed_store_is_away():
    breakers, turned, calls = Breakers(), threading.Event(), []
    breakers.jobs.note(JobStoreUnavailable(), began=time.monotonic())
    thread = PeriodicThread(
        "test", lambda: calls.append(1), seconds=0.001, needs=(breakers.jobs,), on_turn=turned.set
    )
    thread.start()

    assert turned.wait(DEADLINE)
    thread.stop()
    assert calls == []


def test_a_thread_that_is_stuck_in_its_call_does_not_turn():
    entered, leave, turns = threading.Event(), threading.Event(), []

    def call() -> None:
        entered.set()
        leave.wait(DEADLINE)

    thread = PeriodicThread("test", call, seconds=0.001, on_turn=lambda: turns.append(1))
    thread.start()
    assert entered.wait(DEADLINE)
    thread.stop(timeout=0.05)

    assert turns == [1]
    leave.set()
    thread.stop()
