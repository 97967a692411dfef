"""A client that was installed without the server, against a real server: commands and both Python clients."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.albums import plain_album, tree
from tests.acceptance.stacks import LaunchedStack
from tests.client_alone import fathom_alone, python_alone

Run = Callable[..., str]

SYNC = """
from fathom import Fathom
with Fathom("{api}") as client:
    job = client.submit(["album"])
    job.wait()
    print(job.status.state, job.status.succeeded)
"""
ASYNC = """
import asyncio
from fathom import AsyncFathom
async def main():
    async with AsyncFathom("{api}") as client:
        job = await client.submit(["album"])
        await job.wait()
        print(job.status.state, job.status.succeeded)
asyncio.run(main())
"""


@pytest.fixture
def fathom(client_site: Path, stack: LaunchedStack, tmp_path: Path) -> Run:
    """Run a command of the installed client, and return its output."""
    environ = {**stack.environ, "FATHOM_API": stack.api}

    def run(*arguments: str | Path, code: int = 0) -> str:
        command = fathom_alone(client_site, *arguments)
        ended = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100, check=False
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout

    return run


def test_an_album_is_submitted_and_downloaded(fathom: Run, tmp_path: Path) -> None:
    plain_album(tmp_path / "album", 3)
    heatmaps = {f"{number:04}.png" for number in range(3)}

    job = json.loads(fathom("submit", "album", "--out", "depth", "--json"))
    fathom("watch", "album", "--out", "watched", "--once", "-o", "heatmap_format=jpeg")
    fathom("download", job["id"], "--out", "again")

    assert job["state"] == "succeeded"
    assert heatmaps == {name for name in tree(tmp_path / "depth") if name.endswith(".png")}
    assert heatmaps == {name for name in tree(tmp_path / "again") if name.endswith(".png")}
    assert {name for name in tree(tmp_path / "watched") if name.endswith(".jpg")}


def test_a_job_is_shown_and_controlled(fathom: Run, stack: LaunchedStack, tmp_path: Path) -> None:
    plain_album(tmp_path / "album", 2)

    with stack.workers_stopped():
        job = fathom("submit", "album", "--detach").strip()
        states = [json.loads(fathom(verb, job, "--json"))["state"] for verb in ("pause", "resume", "cancel")]
        images = json.loads(fathom("images", job, "--json"))

    assert states == ["paused", "queued", "canceling"]
    assert len(images["images"]) == 2
    assert job in fathom("jobs")
    assert job in fathom("delete", job)
    fathom("status", job, code=1)


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
def test_both_python_clients_work(
    client_site: Path, stack: LaunchedStack, tmp_path: Path, program: str
) -> None:
    plain_album(tmp_path / "album", 2)
    command = python_alone(client_site, program.format(api=stack.api))

    ended = subprocess.run(
        command, cwd=tmp_path, env=dict(stack.environ), capture_output=True, text=True, timeout=100
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, "succeeded 2"), ended.stderr
