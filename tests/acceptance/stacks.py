"""Run `fathom up` and other `fathom` commands, as processes or in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fathom.cli import main
from fathom.stack.servers import tied_to_parent
from fathom.sync_client import Fathom
from shared.jobs.job import ImageState
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from shared.settings import Settings
from tests.processes import descendants, is_alive
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 120.0


def fathom_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "fathom.cli", *map(str, arguments)]


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def invoke_fathom(*arguments: str | Path, environ: Mapping[str, str]) -> CommandResult:
    """Run a `fathom` command in this process, which saves the time to start another."""
    absent = dict.fromkeys(name for name in os.environ if name not in environ)
    result = CliRunner().invoke(main, list(map(str, arguments)), env={**absent, **environ})
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return CommandResult(code=result.exit_code, out=result.stdout, err=result.stderr)


def run_fathom(*arguments: str | Path, environ: Mapping[str, str], seconds: float = 120.0) -> CommandResult:
    """Run a `fathom` command in its own process."""
    ended = subprocess.run(
        fathom_command(*arguments),
        cwd=ROOT,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return CommandResult(code=ended.returncode, out=ended.stdout, err=ended.stderr)


class LaunchedStack:
    """A `fathom up` for tests, on a free port with its own folder."""

    def __init__(self, data: Path, environ: Mapping[str, str], *options: str) -> None:
        self.data = data
        self.environ = environ
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._stale: str | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def launch(self) -> LaunchedStack:
        """Start it without waiting; its output goes to up.log."""
        self.data.mkdir(parents=True, exist_ok=True)
        # A stack that was killed has left its stack.json behind.
        self._stale = self._read_stack_file()
        command = fathom_command("up", "--port", "0", "--data", self.data, *self._options)
        with (self.data / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent(command), cwd=ROOT, env=dict(self.environ), stdout=log, stderr=log
            )
        return self

    def start(self, *, within: float = READY_WITHIN) -> LaunchedStack:
        self.launch()
        eventually(self._ready, seconds=within)
        return self

    @contextmanager
    def running(self, *, within: float = READY_WITHIN) -> Iterator[LaunchedStack]:
        """Start it, ready within so many seconds, and end it after the block."""
        try:
            yield self.start(within=within)
        finally:
            self.close()

    def _ready(self) -> bool:
        assert self.process.poll() is None, (self.data / "up.log").read_text()
        return self._read_stack_file() not in (None, self._stale)

    def _read_stack_file(self) -> str | None:
        try:
            return (self.data / "stack.json").read_text()
        except FileNotFoundError:
            return None

    @property
    def info(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "stack.json").read_text()))

    @property
    def api(self) -> str:
        return str(self.info["api"])

    @property
    def workers(self) -> list[int]:
        return list(self.info["pids"]["workers"])

    @contextmanager
    def workers_stopped(self) -> Iterator[None]:
        """Stop its workers (SIGSTOP) while the block runs, so that no image can end, however fast the machine is."""
        stopped = {pid for worker in self.workers for pid in (worker, *descendants(worker))}
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def run(self, command: str, *arguments: str | Path) -> CommandResult:
        """Run a `fathom` command against this stack."""
        return invoke_fathom(command, *arguments, "--api", self.api, environ=self.environ)

    def client(self) -> Fathom:
        return Fathom(self.api)

    @contextmanager
    def jobs(self) -> Iterator[RedisJobStore]:
        with connect_redis(self.info["redis"]) as client:
            yield RedisJobStore(client)

    @contextmanager
    def objects(self) -> Iterator[S3ObjectStore]:
        s3 = self.info["s3"]
        environ = {
            "FATHOM_S3_ENDPOINT_URL": s3["endpoint"],
            "FATHOM_S3_BUCKET": s3["bucket"],
            "FATHOM_S3_ACCESS_KEY": s3["access_key"],
            "FATHOM_S3_SECRET_KEY": s3["secret_key"],
        }
        store = S3ObjectStore.from_settings(Settings.from_environ(environ))
        try:
            yield store
        finally:
            store.close()

    def terminate(self, *, seconds: float = 60.0) -> int:
        """Stop it with SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill `fathom up` itself."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and everything that it started, by force if necessary."""
        if self._process is None:
            return
        below = descendants(self._process.pid)
        try:
            eventually(self._terminate_once)
        finally:
            self.kill()
            eventually(lambda: {pid for pid in below if is_alive(pid)}, lambda left: not left)

    def _terminate_once(self) -> bool:
        """Send SIGTERM, which at the second time makes it stop faster; return whether it has ended."""
        self.process.terminate()
        try:
            self.process.wait(0.3)
        except subprocess.TimeoutExpired:
            return False
        return True


def check_exactly_once(stack: LaunchedStack, job_id: str, total: int, *, failed: int = 0) -> None:
    """Assert that counters, images, result.json and the S3 listing of an ended job agree."""
    succeeded = total - failed
    with stack.jobs() as jobs:
        job = jobs.get(job_id)
        by_state = {
            state: [image.index for image in jobs.images(job_id, state=state, limit=total + 1).items]
            for state in ImageState
        }
    with stack.objects() as objects:
        stored = [item.key.split("/")[-2:] for item in objects.list(f"jobs/{job_id}/outputs/")]
        result = json.loads(objects.get(f"jobs/{job_id}/result.json"))
    outputs: dict[int, set[str]] = {}
    for index, file in stored:
        outputs.setdefault(int(index), set()).add(file)

    assert (job.counts.succeeded, job.counts.failed, job.counts.pending) == (succeeded, failed, 0)
    assert len(by_state[ImageState.SUCCEEDED]) == succeeded
    assert len(by_state[ImageState.FAILED]) == failed
    assert sorted(by_state[ImageState.SUCCEEDED] + by_state[ImageState.FAILED]) == list(range(total))
    assert sorted(outputs) == by_state[ImageState.SUCCEEDED]
    assert set(map(frozenset, outputs.values())) <= {frozenset({"heatmap.png", "depth.json"})}
    assert result["state"] == job.state
