"""Kill processes in the middle of a job: every image still ends exactly once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from fathom.sync_client import JobHandle
from tests.acceptance.albums import plain_album
from tests.acceptance.conftest import WITHOUT_NETWORK
from tests.acceptance.fleet import worker_beside
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


def test_jobs_of_two_models_survive_the_kills_of_both_workers(
    crashing: LaunchedStack, photos: list[bytes], tmp_path: Path
) -> None:
    start = partial(worker_beside, crashing, "large", tmp_path, FATHOM_MODELS="dpt_large")
    refused = submit(crashing, ["http://127.0.0.1/a.jpg"], "dpt_large")
    assert (refused.status_code, refused.json()["code"]) == (422, "model_unavailable")
    assert "Available now: midas_small." in refused.json()["detail"]

    with origin() as first, origin() as second, ExitStack() as ends:
        gates = [GatedPhotos(server, photos, FIRST) for server in (first, second)]
        large = start()
        ends.callback(lambda: large.end())
        eventually(lambda: available(crashing), lambda names: names == ["midas_small", "dpt_large"])
        fathom = ends.enter_context(crashing.client())
        jobs = [
            fathom.job(submit(crashing, gate.urls, model).json()["id"])
            for gate, model in zip(gates, available(crashing), strict=True)
        ]
        for job in jobs:
            eventually(partial(_succeeded, job), lambda succeeded: succeeded == FIRST)

        victims = [crashing.workers[0], *children(crashing.workers[0])]
        os.kill(victims[0], signal.SIGKILL)
        large.end()
        large = start()
        for gate in gates:
            gate.open()
        ended = [job.wait().status.state for job in jobs]

        assert ended == ["succeeded", "succeeded"]
        for job, longer_side in zip(jobs, (256, 384), strict=True):
            check_exactly_once(crashing, job.id, COUNT)
            assert longer_sides(crashing, job.id) == {longer_side}
        eventually(lambda: not any(is_alive(pid) for pid in victims))


def submit(stack: LaunchedStack, urls: Sequence[str], model: str) -> httpx.Response:
    body = {"sources": [{"url": url} for url in urls], "options": {"model": model}}
    return httpx.post(f"{stack.api}/v1/jobs", json=body)


def available(stack: LaunchedStack) -> list[str]:
    models = httpx.get(f"{stack.api}/v1/models").json()["models"]
    return [model["name"] for model in models if model["available"]]


def _succeeded(job: JobHandle) -> int:
    return job.refresh().succeeded


def longer_sides(stack: LaunchedStack, job_id: str) -> set[int]:
    """Return the longer sides of the inputs of the network that a job's images were made with."""
    with stack.objects() as objects:
        sidecars = [
            json.loads(objects.get(f"jobs/{job_id}/outputs/{index}/depth.json")) for index in range(COUNT)
        ]
    return {max(size.values()) for sidecar in sidecars for size in sidecar["network_sizes"]}


def _replacement(stack: LaunchedStack, part: str, victim: int) -> int | None:
    pid = int(stack.info["pids"][part])
    return pid if pid != victim else None
