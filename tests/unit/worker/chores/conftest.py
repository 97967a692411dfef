from __future__ import annotations

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


@dataclass
class House:
    """Fake stores, chores over them, and what tests do with them."""

    clock: FakeClock
    jobs: FakeJobStore
    objects: FakeObjectStore
    chores: FakeChores
    #: How often workers were told that there is work.
    wakes: list[None] = field(default_factory=list)

    def accept(self, *, record: bool = True, **changes: Any) -> Job:
        """Accept a job whose images are to be gathered, or as the changes have it."""
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

    def gathering(self) -> Gathering:
        return Gathering(jobs=self.jobs, objects=self.objects, wake_workers=lambda: self.wakes.append(None))

    def claim(self, kind: ChoreKind) -> Chore:
        chore = self.chores.claim((kind,), seconds=30)
        assert chore is not None
        return chore

    def job(self, job: Job) -> Job:
        return self.jobs.get(job.id)

    def keys(self, job: Job) -> list[str]:
        """The keys of a job's objects, without what the job itself is written in."""
        prefix = object_keys.job_prefix(job.id)
        rest = (entry.key.removeprefix(prefix) for entry in self.objects.list(prefix))
        return [key for key in rest if key not in ("job.json", "intent.json", "result.json")]


class Ticking:
    """A clock that goes on by a millisecond whenever it is looked at, so that the shortest lock ends."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return self._clock.now + self._looks / 1000


@pytest.fixture
def house() -> House:
    clock = FakeClock()
    return House(
        clock=clock,
        jobs=FakeJobStore(Ticking(clock)),
        objects=FakeObjectStore(clock=clock),
        chores=FakeChores(clock),
    )


def go_on() -> None:
    """Stand for a check that finds nothing against going on."""
