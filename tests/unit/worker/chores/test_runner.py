from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from shared.chores.port import Chore, ChoreKind, ChoreState
from shared.errors import JobNotFound, ObjectStoreUnavailable
from shared.jobs.job import new_job_id
from tests.unit.worker.chores.conftest import ChoreHarness
from worker.chores.runner import AWAY, FAULT, MAX_CLAIMS, Check, ChoreRunner, Done, Later

JOB = new_job_id()


class RecordingHandler:
    """Does what the test says, and records its chores."""

    def __init__(self, does: Callable[[Chore, Check], Done | Later] = lambda chore, check: Done()) -> None:
        self.does = does
        self.done: list[Chore] = []
        self.given_up: list[Chore] = []

    def do(self, chore: Chore, check: Check) -> Done | Later:
        self.done.append(chore)
        return self.does(chore, check)

    def give_up(self, chore: Chore) -> None:
        self.given_up.append(chore)


def run(
    harness: ChoreHarness, handler: RecordingHandler, *, draining: Callable[[], bool] = lambda: False
) -> int:
    return ChoreRunner(harness.chores, {ChoreKind.LIST: handler}, draining=draining).run_due()


def test_due_chores_are_done_until_none_is_left(harness: ChoreHarness) -> None:
    for name in ("a", "b", "c"):
        harness.chores.add(name, ChoreKind.LIST, JOB)
    harness.chores.add("later", ChoreKind.LIST, JOB, delay=60)
    harness.chores.add("other", ChoreKind.EXPAND, JOB)
    handler = RecordingHandler(lambda chore, check: Done(note="well done"))

    assert run(harness, handler) == 3
    assert sorted(chore.id for chore in handler.done) == ["a", "b", "c"]
    states = {chore.id: (chore.state, chore.note) for chore in harness.chores.list(JOB)}
    assert states["a"] == (ChoreState.DONE, "well done")
    assert states["later"] == states["other"] == (ChoreState.OPEN, "")


def test_a_chore_is_postponed_as_its_handler_says(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)

    assert run(harness, RecordingHandler(lambda chore, check: Later(seconds=60, note="busy"))) == 1
    (chore,) = harness.chores.list(JOB)
    assert (chore.attempts, chore.note, chore.due_at) == (1, "busy", harness.clock.now + 60)


def test_a_chore_may_fail_for_good(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)
    run(harness, RecordingHandler(lambda chore, check: Done(note="no", failed=True)))

    assert harness.chores.list(JOB)[0].state is ChoreState.FAILED


def test_an_unavailable_store_postpones_a_chore_without_counting_an_attempt(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)

    def fail(chore: Chore, check: Check) -> Done:
        raise ObjectStoreUnavailable

    for _ in range(2 * MAX_CLAIMS):
        with pytest.raises(ObjectStoreUnavailable):
            run(harness, RecordingHandler(fail))
        assert run(harness, RecordingHandler(fail)) == 0
        harness.clock.advance(AWAY)

    handler = RecordingHandler()
    assert run(harness, handler) == 1
    assert (handler.done[0].attempts, handler.done[0].claims) == (0, 1)


def test_a_chore_that_fails_unexpectedly_is_given_up_after_three_claims(
    harness: ChoreHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)

    def fail(chore: Chore, check: Check) -> Done:
        raise ZeroDivisionError

    handler = RecordingHandler(fail)

    with caplog.at_level(logging.ERROR):
        for _ in range(MAX_CLAIMS + 3):
            run(harness, handler)
            harness.clock.advance(FAULT * 10)

    assert len(handler.done) == MAX_CLAIMS
    assert [chore.id for chore in handler.given_up] == ["a"]
    assert harness.chores.list(JOB)[0].state is ChoreState.FAILED
    assert "ZeroDivisionError" in caplog.text


def test_a_chore_that_kills_its_workers_is_given_up(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)
    for _ in range(MAX_CLAIMS):
        harness.claim(ChoreKind.LIST)
        harness.clock.advance(31)
    handler = RecordingHandler()
    run(harness, handler)

    assert (handler.done, [chore.id for chore in handler.given_up]) == ([], ["a"])


def test_a_chore_given_up_whose_job_is_gone_is_finished(harness: ChoreHarness) -> None:
    class Gone(RecordingHandler):
        def give_up(self, chore: Chore) -> None:
            raise JobNotFound

    harness.chores.add("a", ChoreKind.LIST, JOB)
    for _ in range(MAX_CLAIMS):
        harness.claim(ChoreKind.LIST)
        harness.clock.advance(31)
    run(harness, Gone())

    assert harness.chores.list(JOB)[0].state is ChoreState.FAILED


def test_a_worker_that_stops_claims_no_more_chores_and_releases_its_own(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)
    harness.chores.add("b", ChoreKind.LIST, JOB)
    stopping = False

    def stop_half_way(chore: Chore, check: Check) -> Done:
        nonlocal stopping
        check()
        stopping = True
        check()
        raise AssertionError("unreachable")

    assert run(harness, RecordingHandler(stop_half_way), draining=lambda: stopping) == 1
    assert run(harness, RecordingHandler(), draining=lambda: stopping) == 0
    assert [chore.claims for chore in harness.chores.list(JOB)] == [0, 0]
    assert run(harness, RecordingHandler()) == 2


def test_a_chore_woken_while_it_is_done_is_done_once_more(harness: ChoreHarness) -> None:
    harness.chores.add("a", ChoreKind.LIST, JOB)

    def wake(chore: Chore, check: Check) -> Later:
        if len(handler.done) == 1:
            harness.chores.wake("a")
        return Later()

    handler = RecordingHandler(wake)
    assert run(harness, handler) == 2
