"""Which chores a job needs: when it is accepted, and after Redis has lost all chores."""

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
from tests.unit.worker.chores.conftest import ChoreHarness
from worker.parent.recovery import Recoverer

HOOK = Webhook(url="https://example.org/hook")


def kinds(harness: ChoreHarness, job_id: str) -> list[ChoreKind]:
    return [chore.kind for chore in harness.chores.list(job_id)]


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
    harness: ChoreHarness, changes: dict[str, Any], expected: list[ChoreKind]
) -> None:
    assert kinds(harness, harness.accept(**changes).id) == expected


def test_a_job_whose_sources_are_unknown_is_listed(harness: ChoreHarness) -> None:
    job = harness.accept()
    harness.chores.forget(job.id)
    harness.objects.put(object_keys.sources(job.id), encode_listings([Listing(s3_prefix="s3://a/")]))
    add_chores(job, harness.objects, harness.chores)

    assert kinds(harness, job.id) == [ChoreKind.LIST]


def test_adding_them_again_changes_nothing(harness: ChoreHarness) -> None:
    job = harness.accept(webhook=HOOK)
    before = harness.chores.list(job.id)
    add_chores(job, harness.objects, harness.chores)

    assert harness.chores.list(job.id) == before


def test_after_a_loss_of_redis_what_was_to_be_done_is_noted_again(harness: ChoreHarness) -> None:
    gathers, waits, runs = (
        harness.accept(total=2),
        harness.accept(gathered=False, webhook=HOOK),
        harness.accept(gathered=False, state=JobState.QUEUED, total=2),
    )
    jobs, chores = FakeJobStore(), FakeChores()
    lost = ChoreHarness(clock=harness.clock, jobs=jobs, objects=harness.objects, chores=chores)
    recoverer = Recoverer(
        name="worker",
        jobs=jobs,
        objects=harness.objects,
        chores=chores,
        retention_seconds=math.inf,
        draining=lambda: False,
    )
    assert recoverer.recover() == 3

    assert kinds(lost, gathers.id) == [ChoreKind.EXPAND]
    assert kinds(lost, waits.id) == [ChoreKind.NOTIFY]
    assert kinds(lost, runs.id) == []
    assert jobs.get(gathers.id).state is JobState.UPLOADING
    assert jobs.get(gathers.id).gathered
    assert jobs.get(waits.id).webhook == HOOK
