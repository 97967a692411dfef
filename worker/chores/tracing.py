"""Spans of chores, in the trace of their job."""

from __future__ import annotations

from collections.abc import Mapping

from shared.chores.port import Chore, ChoreKind
from shared.errors import JobNotFound
from shared.jobstore.port import JobStore
from shared.observability.tracing import Tracer, Value, traced
from worker.chores.runner import Check, ChoreHandler, Done, Later

#: This chore looks at its job again and again; the deliveries have spans of their own.
_UNTRACED = frozenset({ChoreKind.NOTIFY})


def trace_chores(
    handlers: Mapping[ChoreKind, ChoreHandler], jobs: JobStore, tracer: Tracer
) -> dict[ChoreKind, ChoreHandler]:
    """Return handlers that trace the chores of traced jobs; the same handlers while traces are off."""
    if not tracer.is_on:
        return dict(handlers)
    return {
        kind: handler if kind in _UNTRACED else TracedHandler(handler, jobs, tracer)
        for kind, handler in handlers.items()
    }


class TracedHandler:
    """Wraps a handler: each chore gets a span."""

    def __init__(self, handler: ChoreHandler, jobs: JobStore, tracer: Tracer) -> None:
        self._handler = handler
        self._jobs = jobs
        self._tracer = tracer

    def do(self, chore: Chore, check: Check) -> Done | Later:
        attributes: dict[str, Value] = {
            "fathom.job.id": chore.job_id,
            "fathom.chore.attempt": chore.attempts + 1,
        }
        parent = self._traceparent(chore.job_id)
        with traced(self._tracer, f"{chore.kind} chore", parent=parent, attributes=attributes) as span:
            outcome = self._handler.do(chore, check)
            if isinstance(outcome, Done):
                span.set({"fathom.outcome": "failed" if outcome.failed else "succeeded"})
            else:
                span.set({"fathom.outcome": "put off"})
            return outcome

    def give_up(self, chore: Chore) -> None:
        self._handler.give_up(chore)

    def _traceparent(self, job_id: str) -> str | None:
        try:
            return self._jobs.get(job_id).traceparent
        except JobNotFound:
            # The handler handles that.
            return None
