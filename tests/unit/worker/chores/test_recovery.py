"""Restore chores after Redis has lost everything."""

from __future__ import annotations

import math

from shared.chores.port import ChoreKind
from shared.jobs.job import Job, JobState, Webhook
from tests.fakes import FakeJobStore
from tests.fakes_chores import FakeChores
from tests.unit.worker.chores.conftest import ChoreHarness
from worker.parent.recovery import Recoverer


def test_after_a_loss_of_redis_chores_are_enqueued_again(harness: ChoreHarness) -> None:
    hook = Webhook(url="https://example.org/hook")
    gathers = harness.accept(total=2)
    waits = harness.accept(gathered=False, webhook=hook)
    runs = harness.accept(gathered=False, state=JobState.QUEUED, total=2)
    jobs, chores = FakeJobStore(), FakeChores()
    recoverer = Recoverer(
        name="worker",
        jobs=jobs,
        objects=harness.objects,
        retention_seconds=math.inf,
        chores=chores,
        draining=lambda: False,
    )

    assert recoverer.recover() == 3

    def kinds(job: Job) -> list[ChoreKind]:
        return [chore.kind for chore in chores.list(job.id)]

    assert kinds(gathers) == [ChoreKind.EXPAND]
    assert kinds(waits) == [ChoreKind.NOTIFY]
    assert kinds(runs) == []
    assert jobs.get(gathers.id).state is JobState.UPLOADING
    assert jobs.get(gathers.id).gathered
    assert jobs.get(waits.id).webhook == hook
