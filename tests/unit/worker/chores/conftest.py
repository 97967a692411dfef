from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fathom.options import Options
from shared.chores.enqueue import add_chores
from shared.chores.port import Chore, ChoreKind
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, new_job_id
from shared.jobs.record import encode_job, new_job
from tests.fakes import FakeClock, FakeJobStore, FakeObjectStore
from tests.fakes_chores import FakeChores
from worker.chores.gathering import Gathering
from worker.chores.runner import Check


@dataclass
class ChoreHarness:
    """Fake stores with chores, and helpers for tests."""

    clock: FakeClock
    jobs: FakeJobStore
    objects: FakeObjectStore
    chores: FakeChores
    #: How often workers were woken.
    wakes: list[None] = field(default_factory=list)

    def accept(self, *, record: bool = True, **changes: Any) -> Job:
        """Accept a job whose images must be gathered, with these changes."""
        fields: dict[str, Any] = {
            "total": 0,
            "options": Options(),
            "state": JobState.UPLOADING,
            "created_at": self.clock.now,
            "gathered": True,
        }
        job = new_job(new_job_id(), **(fields | changes))
        self.objects.put(object_keys.job_record(job.id), encode_job(job))
        add_chores(job, self.objects, self.chores)
        if record:
            self.jobs.create(job)
        return job

    def gathering(self, gather: Callable[[Job, Check], int]) -> Gathering:
        return Gathering(
            jobs=self.jobs,
            objects=self.objects,
            wake_workers=lambda: self.wakes.append(None),
            gather=gather,
        )

    def claim(self, kind: ChoreKind) -> Chore:
        chore = self.chores.claim((kind,), seconds=30)
        assert chore is not None
        return chore

    def job(self, job: Job) -> Job:
        return self.jobs.get(job.id)

    def keys(self, job: Job) -> list[str]:
        """Return the keys of a job's objects without those of its own record, intent and result."""
        prefix = object_keys.job_prefix(job.id)
        rest = (entry.key.removeprefix(prefix) for entry in self.objects.list(prefix))
        return [key for key in rest if key not in ("job.json", "intent.json", "result.json")]


class TickingClock:
    """A clock that advances by a millisecond at every call, so that even the shortest lock ends."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return self._clock.now + self._looks / 1000


@pytest.fixture
def harness() -> ChoreHarness:
    clock = FakeClock()
    return ChoreHarness(
        clock=clock,
        jobs=FakeJobStore(TickingClock(clock)),
        objects=FakeObjectStore(clock=clock),
        chores=FakeChores(clock),
    )


def check_nothing() -> None:
    """A check that never interrupts."""
