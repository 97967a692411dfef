"""`fathom up`: its start, refusals, stop, kill and restart."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from shared.net.webhook_signing import is_secret
from tests.acceptance.albums import plain_album, tree
from tests.acceptance.conftest import SIMULATED, StackFactory
from tests.acceptance.stacks import LaunchedStack, check_exactly_once, run_fathom
from tests.processes import descendants, is_alive
from tests.waiting import eventually

#: Photos of an interrupted job.
COUNT = 40


def gone(pids: set[int]) -> bool:
    return not any(is_alive(pid) for pid in pids)


def test_stack_json_has_all_addresses_and_only_its_owner_may_read_it(stack: LaunchedStack) -> None:
    info = stack.info

    assert set(info) == {"api", "redis", "s3", "pids"}
    assert set(info["s3"]) == {"endpoint", "bucket", "access_key", "secret_key"}
    assert set(info["pids"]) == {"redis", "s3", "api", "workers"}
    pids = [info["pids"]["redis"], info["pids"]["s3"], info["pids"]["api"], *info["pids"]["workers"]]
    assert all(is_alive(pid) for pid in pids)
    assert set(pids) <= descendants(stack.process.pid)
    assert httpx.get(f"{info['api']}/readyz").json()["ready"] is True
    for name in ("stack.json", "keys.json"):
        assert stat.S_IMODE((stack.data / name).stat().st_mode) == 0o600


def test_no_command_line_shows_a_key(stack: LaunchedStack) -> None:
    keys = json.loads((stack.data / "keys.json").read_text()).values()
    shown = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(stack.process.pid)]

    assert not any(key.encode() in line for key in keys for line in shown)


def test_webhooks_are_signed_without_a_configured_secret(stack: LaunchedStack) -> None:
    (secret,) = httpx.get(f"{stack.api}/v1/webhook-secrets").json()["secrets"]

    assert is_secret(secret)
    # Callers of the API get their own secret, never the one from which it is derived.
    assert secret != json.loads((stack.data / "keys.json").read_text())["webhook_secret"]


def test_a_second_stack_on_the_same_folder_is_refused(stack: LaunchedStack) -> None:
    ended = run_fathom("up", "--port", "0", "--data", stack.data, environ=stack.environ)

    assert ended.code == 1
    assert f"Another `fathom up` (process {stack.process.pid}) is running on {stack.data}." in ended.err
    assert (stack.data / "stack.json").exists()
    assert httpx.get(f"{stack.api}/readyz").json()["ready"] is True


def test_a_port_in_use_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_fathom("up", "--port", str(port), "--data", tmp_path / "data", environ=environ)

    assert ended.code == 1
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use." in ended.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"FATHOM_WEIGHTS": "/nowhere/weights.pt"}, "FATHOM_WEIGHTS"),
        ({"FATHOM_LEASE_SECONDS": "soon"}, "FATHOM_LEASE_SECONDS must be a number"),
    ],
)
def test_a_stack_with_an_obstacle_starts_nothing(
    environ: dict[str, str], tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    ended = run_fathom("up", "--port", "0", "--data", tmp_path / "data", environ={**environ, **settings})

    assert ended.code == 1
    assert message in ended.err
    assert "starting valkey" not in ended.err
    assert not (tmp_path / "data" / "stack.json").exists()


def test_weights_and_cache_may_be_given_as_relative_paths(environ: dict[str, str], tmp_path: Path) -> None:
    settings = {**environ, "FATHOM_WEIGHTS": "weights/none.safetensors"}

    ended = run_fathom("up", "--port", "0", "--data", tmp_path / "data", environ=settings)

    assert ended.code == 1
    assert f"{Path.cwd()}/weights/none.safetensors" in ended.err


def test_a_signal_during_the_start_ends_everything_that_was_started(start_stack: StackFactory) -> None:
    mine = start_stack("mine", **SIMULATED).launch()
    eventually((mine.data / "logs" / "valkey.log").exists)
    pids = descendants(mine.process.pid)

    assert mine.terminate() == 0
    assert gone(pids)
    assert not (mine.data / "stack.json").exists()


def test_a_killed_or_stopped_stack_leaves_no_process_and_its_jobs_continue_later(
    start_stack: StackFactory, tmp_path: Path
) -> None:
    def start() -> LaunchedStack:
        return start_stack("data", **SIMULATED, FATHOM_LEASE_SECONDS="2").start()

    album = plain_album(tmp_path / "album", COUNT)
    first = start()
    killed, below = begin(first, album), descendants(first.process.pid)
    first.kill()
    # At once, while the first stack is still stopping.
    second = start()
    assert gone(below)
    end(second, killed)
    stopped, below = begin(second, album), descendants(second.process.pid)
    assert second.terminate() == 0
    assert gone(below)
    third = start()
    end(third, stopped)

    assert third.run("download", killed, "--out", tmp_path / "out").code == 0
    assert len(tree(tmp_path / "out")) == COUNT


def begin(stack: LaunchedStack, album: Path) -> str:
    """Submit an album and wait until a small part of it is done."""
    with stack.client() as fathom:
        job = fathom.submit([album])
        eventually(lambda: job.refresh().succeeded, lambda succeeded: succeeded >= 3)
    return job.id


def end(stack: LaunchedStack, job_id: str) -> None:
    """Wait for the end of a job that another stack began; no result may be lost."""
    assert stack.run("status", job_id).code == 0
    with stack.client() as fathom:
        job = fathom.job(job_id)
        assert job.status.succeeded >= 3
        job.wait()
    check_exactly_once(stack, job_id, COUNT)


def test_two_stacks_run_side_by_side_and_ctrl_c_ends_everything_of_one(
    stack: LaunchedStack, start_stack: StackFactory, tmp_path: Path
) -> None:
    other = start_stack("other", "--workers", "2", "--concurrency", "1", **SIMULATED).start()
    album = plain_album(tmp_path / "album", 4)
    ours, theirs = stack.run("submit", album, "--json"), other.run("submit", album, "--json")

    assert (ours.code, theirs.code) == (0, 0)
    assert len(other.workers) == 2
    assert other.run("status", ours.json["id"]).code == 1
    assert stack.run("status", theirs.json["id"]).code == 1

    below = descendants(other.process.pid)
    assert len(below) >= 7
    other.process.send_signal(signal.SIGINT)

    assert other.process.wait(60) == 0
    assert gone(below)
    assert not (other.data / "stack.json").exists()


def test_nothing_listens_beyond_this_machine(stack: LaunchedStack) -> None:
    pids = descendants(stack.process.pid) | {stack.process.pid}
    inodes = {link for pid in pids for link in _socket_inodes(pid)}
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]

    assert len(listening) >= 3
    # 127.0.0.1 in the notation of the kernel.
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


def _socket_inodes(pid: int) -> set[str]:
    links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return {link[8:-1] for link in links if link.startswith("socket:[")}
