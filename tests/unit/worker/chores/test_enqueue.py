"""Which chores a job needs: when it is accepted, and when everything about chores was lost."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shared.chores.enqueue import add_chores
from shared.chores.port import ChoreKind
from shared.jobs import object_keys
from shared.jobs.job import JobState, Webhook
from shared.jobs.sources import Listing, encode_listings
from tests.fakes import FakeJobStore
from tests.fakes_chores import FakeChores
from tests.unit.worker.chores.conftest import House
from worker.parent.recovery import Recoverer

HOOK = Webhook(url="https://example.org/hook")


def kinds(house: House, job_id: str) -> list[ChoreKind]:
    return [chore.kind for chore in house.chores.list(job_id)]


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
def test_a_job_needs_what_it_came_with(
    house: House, changes: dict[str, Any], expected: list[ChoreKind]
) -> None:
    assert kinds(house, house.accept(**changes).id) == expected


def test_a_job_whose_sources_are_unknown_is_listed(house: House) -> None:
    job = house.accept()
    house.chores.forget(job.id)
    house.objects.put(object_keys.sources(job.id), encode_listings([Listing(s3_prefix="s3://a/")]))
    add_chores(job, house.objects, house.chores)

    assert kinds(house, job.id) == [ChoreKind.LIST]


def test_adding_them_again_changes_nothing(house: House) -> None:
    job = house.accept(webhook=HOOK)
    before = house.chores.list(job.id)
    add_chores(job, house.objects, house.chores)

    assert house.chores.list(job.id) == before


def test_after_a_loss_of_redis_what_was_to_be_done_is_noted_again(house: House) -> None:
    gathers, waits, runs = (
        house.accept(total=2),
        house.accept(gathered=False, webhook=HOOK),
        house.accept(gathered=False, state=JobState.QUEUED, total=2),
    )
    jobs, chores = FakeJobStore(), FakeChores()
    lost = House(clock=house.clock, jobs=jobs, objects=house.objects, chores=chores)
    recoverer = Recoverer(
        name="worker", jobs=jobs, objects=house.objects, retention_seconds=math.inf, chores=chores
    )
    assert recoverer.recover() == 3

    assert kinds(lost, gathers.id) == [ChoreKind.EXPAND]
    assert kinds(lost, waits.id) == [ChoreKind.NOTIFY]
    assert kinds(lost, runs.id) == []
    assert jobs.get(gathers.id).state is JobState.UPLOADING
    assert jobs.get(gathers.id).gathered
    assert jobs.get(waits.id).webhook == HOOK
