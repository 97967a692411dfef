"""Whatever is killed in the middle of a job: every image still ends exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from client.api import JobHandle
from tests.acceptance.albums import plain_album
from tests.acceptance.stacks import Stack, check_exactly_once, children, is_alive, poll

#: Photos of the job that is disturbed, and their size: long enough to be hit in the middle.
COUNT, SIZE = 40, (2400, 1600)
#: Seconds until a dead worker's images are taken back: shorter than by default, to wait less.
LEASE = 2.0


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_album(tmp_path_factory.mktemp("crashes"), COUNT, size=SIZE)


@pytest.fixture(scope="module")
def crashing(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack that has to live through all of this."""
    settings = {**environ, "FATHOM_LEASE_SECONDS": str(LEASE)}
    stack = Stack(tmp_path_factory.mktemp("crashing") / "data", settings, "--concurrency", "2").start()
    yield stack
    stack.close()


@pytest.fixture
def job(crashing: Stack, album: Path) -> Iterator[JobHandle]:
    """A job that a few images of are done, and most are not."""
    with crashing.client() as fathom:
        job = fathom.submit([album])
        poll("the first images", lambda: job.refresh().succeeded >= 4)
        assert not job.status.ended, "The job was over before it could be disturbed."
        yield job


def busy_child(stack: Stack) -> int:
    return max(children(stack.workers[0]))


def test_a_worker_child_killed_in_the_middle_costs_no_image(crashing: Stack, job: JobHandle) -> None:
    victim = busy_child(crashing)

    os.kill(victim, signal.SIGKILL)
    job.wait()

    assert not is_alive(victim)
    assert job.status.state == "succeeded"
    check_exactly_once(crashing, job.id, COUNT)


def test_a_whole_worker_killed_in_the_middle_costs_no_image(crashing: Stack, job: JobHandle) -> None:
    victims = [crashing.workers[0], *children(crashing.workers[0])]

    os.kill(victims[0], signal.SIGKILL)
    job.wait()

    assert job.status.state == "succeeded"
    check_exactly_once(crashing, job.id, COUNT)
    # Its children went with it, and another worker took its place.
    assert not any(is_alive(pid) for pid in victims)
    assert crashing.workers != victims[:1]


def test_servers_killed_one_after_another_in_the_middle_cost_no_image(
    crashing: Stack, job: JobHandle
) -> None:
    for part in ("redis", "s3", "api"):
        victim = crashing.info["pids"][part]
        os.kill(victim, signal.SIGKILL)
        replaced = poll(f"another {part}", partial(_replacement, crashing, part, victim))
        assert is_alive(replaced)
    job.wait()

    assert job.status.state == "succeeded"
    check_exactly_once(crashing, job.id, COUNT)


def _replacement(stack: Stack, part: str, victim: int) -> int | None:
    pid = int(stack.info["pids"][part])
    return pid if pid != victim else None
