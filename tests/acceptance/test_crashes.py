"""Kill processes in the middle of a job: every image still ends exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from fathom.sync_client import JobHandle
from tests.acceptance.albums import plain_album
from tests.acceptance.conftest import WITHOUT_NETWORK
from tests.acceptance.stacks import LaunchedStack, check_exactly_once
from tests.origins import GatedPhotos, origin
from tests.processes import children, is_alive
from tests.waiting import eventually

#: Photos of the disturbed job, and how many of them are done before the kill.
COUNT, FIRST = 16, 4
SETTINGS = {
    "FATHOM_SOURCE_HOSTS": "127.0.0.1",
    # Shorter than the default, so that the leases of a dead worker expire sooner.
    "FATHOM_LEASE_SECONDS": "2",
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = plain_album(tmp_path_factory.mktemp("crashes"), COUNT)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def crashing(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    """One stack for all these tests."""
    data = tmp_path_factory.mktemp("crashing") / "data"
    with LaunchedStack(data, environ | WITHOUT_NETWORK | SETTINGS, "--concurrency", "2").running() as stack:
        yield stack


@pytest.fixture
def gated(photos: list[bytes]) -> Iterator[GatedPhotos]:
    with origin() as server:
        gated = GatedPhotos(server, photos, FIRST)
        yield gated
        gated.open()


@pytest.fixture
def job(crashing: LaunchedStack, gated: GatedPhotos) -> Iterator[JobHandle]:
    """A job whose first images are done, while the others are leased or waiting."""
    body = {"sources": [{"url": url} for url in gated.urls]}
    created = httpx.post(f"{crashing.api}/v1/jobs", json=body)
    assert created.status_code == 202, created.text
    with crashing.client() as fathom:
        job = fathom.job(created.json()["id"])
        eventually(lambda: job.refresh().succeeded, lambda succeeded: succeeded == FIRST)
        yield job


def end(job: JobHandle, gated: GatedPhotos) -> None:
    gated.open()
    job.wait()
    assert job.status.state == "succeeded"


def test_killing_a_child_fails_no_image(crashing: LaunchedStack, job: JobHandle, gated: GatedPhotos) -> None:
    victim = max(children(crashing.workers[0]))

    os.kill(victim, signal.SIGKILL)
    end(job, gated)

    eventually(lambda: not is_alive(victim))
    check_exactly_once(crashing, job.id, COUNT)


def test_killing_a_worker_fails_no_image(crashing: LaunchedStack, job: JobHandle, gated: GatedPhotos) -> None:
    victims = [crashing.workers[0], *children(crashing.workers[0])]

    os.kill(victims[0], signal.SIGKILL)
    end(job, gated)

    check_exactly_once(crashing, job.id, COUNT)
    # Its children ended too, and another worker replaced it.
    eventually(lambda: not any(is_alive(pid) for pid in victims))
    eventually(lambda: crashing.workers, lambda workers: workers != victims[:1])


def test_killing_the_servers_one_after_another_fails_no_image(
    crashing: LaunchedStack, job: JobHandle, gated: GatedPhotos
) -> None:
    for part in ("redis", "s3", "api"):
        victim = crashing.info["pids"][part]
        os.kill(victim, signal.SIGKILL)
        replaced = eventually(partial(_replacement, crashing, part, victim))
        assert is_alive(replaced)
    end(job, gated)

    check_exactly_once(crashing, job.id, COUNT)


def _replacement(stack: LaunchedStack, part: str, victim: int) -> int | None:
    pid = int(stack.info["pids"][part])
    return pid if pid != victim else None
