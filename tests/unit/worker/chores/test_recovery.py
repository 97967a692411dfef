"""What becomes of chores when Redis loses everything."""

from __future__ import annotations

import math

from shared.chores.port import ChoreKind
from shared.jobs.job import Job, JobState, Webhook
from tests.fakes import FakeJobStore
from tests.fakes_chores import FakeChores
from tests.unit.worker.chores.conftest import House
from worker.parent.recovery import Recoverer


def test_after_a_loss_of_redis_chores_are_enqueued_again(house: House) -> None:
    hook = Webhook(url="https://example.org/hook")
    gathers = house.accept(total=2)
    waits = house.accept(gathered=False, webhook=hook)
    runs = house.accept(gathered=False, state=JobState.QUEUED, total=2)
    jobs, chores = FakeJobStore(), FakeChores()
    recoverer = Recoverer(
        name="worker", jobs=jobs, objects=house.objects, retention_seconds=math.inf, chores=chores
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
