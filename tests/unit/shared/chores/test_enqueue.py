"""Which chores a job needs when it is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from fathom.options import Options
from shared.chores.enqueue import add_chores
from shared.chores.port import ChoreKind
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, Webhook, new_job_id
from shared.jobs.record import new_job
from shared.jobs.sources import Listing, encode_listings
from tests.fakes import FakeClock, FakeObjectStore
from tests.fakes_chores import FakeChores

HOOK = Webhook(url="https://example.org/hook")


@pytest.fixture
def objects() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def chores() -> FakeChores:
    return FakeChores(FakeClock())


def a_job(**changes: Any) -> Job:
    """Return a job whose images are to be gathered, or one with these changes."""
    fields: dict[str, Any] = {"total": 0, "state": JobState.UPLOADING, "gathered": True}
    return new_job(new_job_id(), options=Options(), created_at=0.0, **(fields | changes))


def kinds(chores: FakeChores, job: Job) -> list[ChoreKind]:
    return [chore.kind for chore in chores.list(job.id)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [ChoreKind.EXPAND]),
        ({"webhook": HOOK}, [ChoreKind.EXPAND, ChoreKind.NOTIFY]),
        ({"gathered": False}, []),
        ({"gathered": False, "webhook": HOOK}, [ChoreKind.NOTIFY]),
        ({"state": JobState.QUEUED, "total": 3}, []),
    ],
)
def test_a_job_gets_the_chores_for_its_sources_and_webhook(
    objects: FakeObjectStore, chores: FakeChores, changes: dict[str, Any], expected: list[ChoreKind]
) -> None:
    job = a_job(**changes)
    add_chores(job, objects, chores)

    assert kinds(chores, job) == expected


def test_a_job_whose_sources_are_unknown_is_listed(objects: FakeObjectStore, chores: FakeChores) -> None:
    job = a_job()
    objects.put(object_keys.sources(job.id), encode_listings([Listing(s3_prefix="s3://a/")]))
    add_chores(job, objects, chores)

    assert kinds(chores, job) == [ChoreKind.LIST]


def test_enqueueing_again_changes_nothing(objects: FakeObjectStore, chores: FakeChores) -> None:
    job = a_job(webhook=HOOK)
    add_chores(job, objects, chores)
    before = chores.list(job.id)
    add_chores(job, objects, chores)

    assert chores.list(job.id) == before
