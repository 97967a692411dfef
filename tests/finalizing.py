"""End jobs as a worker does, on either job store."""

from __future__ import annotations

from shared.chores.port import Chores
from shared.jobs.job import FinalizeClaim, JobState
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.tracing import OFF, Tracer
from tests.fakes_chores import FakeChores
from worker.parent.finalize import finalize


def claim(store: JobStore, job_id: str | None = None) -> FinalizeClaim:
    """Claim a job that waits to be finalised, which must be `job_id` if that is given."""
    found = store.claim_finalize()
    assert found is not None
    assert job_id in (None, found.job_id)
    return found


def claimed(store: JobStore) -> str | None:
    """Claim a job that waits to be finalised; return its id, or None if there is none."""
    found = store.claim_finalize()
    return found.job_id if found else None


def finish_as(store: JobStore, job_id: str, state: JobState) -> None:
    """End a job that waits to be finalised."""
    store.finish(claim(store, job_id), state)


def finalize_claimed(
    claim: FinalizeClaim,
    jobs: JobStore,
    objects: ObjectStore,
    *,
    chores: Chores | None = None,
    tracer: Tracer = OFF,
) -> JobState:
    """Finalise a claimed job as a worker does, by default without traces and webhooks."""
    return finalize(claim, jobs, objects, chores or FakeChores(), tracer)
