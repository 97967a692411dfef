from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.chores.port import Chore, ChoreKind, ChoreState
from shared.errors import ObjectStoreUnavailable
from shared.jobs.job import new_job_id
from tests.traces import PARENT, SAMPLED, TRACE, InMemoryTraces, facts, parent_of, trace_of
from tests.unit.worker.chores.conftest import ChoreHarness
from tests.unit.worker.chores.test_runner import RecordingHandler
from worker.chores.runner import ChoreRunner, Done, Later
from worker.chores.tracing import trace_chores


@pytest.fixture
def memory() -> InMemoryTraces:
    return InMemoryTraces()


def run(
    harness: ChoreHarness, memory: InMemoryTraces, handler: RecordingHandler, kind: ChoreKind = ChoreKind.LIST
) -> int:
    traced = trace_chores({kind: handler}, harness.jobs, memory.tracer)
    return ChoreRunner(harness.chores, traced, draining=lambda: False).run_due()


@pytest.mark.parametrize(
    ("outcome", "recorded"),
    [(Done(), "succeeded"), (Done(failed=True), "failed"), (Later(seconds=60), "put off")],
)
def test_a_chore_is_a_span_in_the_trace_of_its_job(
    harness: ChoreHarness, memory: InMemoryTraces, outcome: Done | Later, recorded: str
) -> None:
    job = harness.accept(traceparent=SAMPLED)
    harness.chores.add("a", ChoreKind.LIST, job.id)

    assert run(harness, memory, RecordingHandler(lambda chore, check: outcome)) == 1
    span = memory.one("list chore")
    assert (trace_of(span), parent_of(span)) == (TRACE, PARENT)
    assert facts(span) == {"fathom.job.id": job.id, "fathom.chore.attempt": 1, "fathom.outcome": recorded}


def test_the_span_of_a_failed_chore_has_its_code_and_the_chore_is_settled_as_usual(
    harness: ChoreHarness, memory: InMemoryTraces
) -> None:
    def fail(chore: Chore, check: Callable[[], None]) -> Done:
        raise ObjectStoreUnavailable

    job = harness.accept(traceparent=SAMPLED)
    harness.chores.add("a", ChoreKind.LIST, job.id)
    with pytest.raises(ObjectStoreUnavailable):
        run(harness, memory, RecordingHandler(fail))

    assert facts(memory.one("list chore"))["error.type"] == ObjectStoreUnavailable.code
    assert [chore.state for chore in harness.chores.list(job.id) if chore.id == "a"] == [ChoreState.OPEN]


def test_chores_of_untraced_or_deleted_jobs_are_done_too(
    harness: ChoreHarness, memory: InMemoryTraces
) -> None:
    handler = RecordingHandler()
    harness.chores.add("a", ChoreKind.LIST, harness.accept().id)
    harness.chores.add("b", ChoreKind.LIST, new_job_id())

    assert run(harness, memory, handler) == 2
    assert memory.spans() == ()


def test_checking_a_job_for_its_webhook_makes_no_span(harness: ChoreHarness, memory: InMemoryTraces) -> None:
    harness.chores.add("a", ChoreKind.NOTIFY, harness.accept(traceparent=SAMPLED).id)

    assert run(harness, memory, RecordingHandler(), ChoreKind.NOTIFY) == 1
    assert memory.spans() == ()
