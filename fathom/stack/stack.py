"""The embedded stack: Valkey, S3, the API and workers on this machine, started, kept alive and ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from fathom.stack.data_dir import DataFolder, write_private
from fathom.stack.processes import OrphanGuard, Part, Program, log_tail
from fathom.stack.restart import Supervisor
from fathom.stack.servers import SeaweedServer, ValkeyServer, free_ports
from shared.errors import FathomError
from shared.settings import Settings
from worker.model.weights import find_weights

BUCKET = "fathom"
#: Seconds for a part to get ready.
READY_WITHIN = 120.0
#: Seconds that a worker gets to finish the image in hand and to release the rest of its lease.
WORKER_GRACE = 25.0
#: Seconds that each part gets to end after a second stop signal.
HASTY_GRACE = 0.5
_POLL = 0.1
#: Addresses that only programs of this machine can reach.
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost")
_ANY_HOSTS = ("0.0.0.0", "::", "")


class StackFailed(FathomError):
    """The stack did not start."""

    code = "stack_failed"


class Stopped(Exception):
    """The stack was asked to stop while it was starting."""


@dataclass(frozen=True, kw_only=True)
class StackPlan:
    """What to start, and where its data lives."""

    data_dir: Path
    host: str = "127.0.0.1"
    #: 0 takes a free port.
    port: int = 8080
    #: Worker processes, each the parent of `concurrency` children.
    workers: int = 1
    concurrency: int = 1
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def slots(self) -> int:
        return self.workers * self.concurrency


class StopSignal:
    """Set by the first SIGINT or SIGTERM; the second one means to stop at once.

    It uses plain flags, and pauses that check them: the locks of `threading.Event` would
    deadlock with a signal handler that runs while the same thread waits for the event.
    """

    def __init__(self) -> None:
        self.asked = False
        self.hurry = False

    def listen(self) -> None:
        signal.signal(signal.SIGINT, self.ask)
        signal.signal(signal.SIGTERM, self.ask)

    def ask(self, *_: int | FrameType | None) -> None:
        self.hurry = self.asked
        self.asked = True

    def pause(self) -> None:
        """Wait a moment. Raises Stopped if the signal has come."""
        time.sleep(_POLL)
        if self.asked:
            raise Stopped


class Stack:
    """All parts of Fathom on this machine. Start, supervise, and stop it from one thread.

    The servers end with the thread that starts them (see `fathom.stack.servers`), our
    own programs with this process (see `fathom.stack.orphan_guard`).
    """

    def __init__(self, plan: StackPlan, *, stop_signal: StopSignal, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = DataFolder(plan.data_dir)
        self._stop_signal = stop_signal
        self._say = say
        self._port = plan.port or free_ports(1)[0]
        #: In the order in which they were started.
        self._parts: list[Part] = []

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the API."""
        host = "127.0.0.1" if self._plan.host in _ANY_HOSTS else self._plan.host
        return f"http://{_authority(host, self._port)}"

    @property
    def stack_file(self) -> Path:
        return self._folder.stack_file

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything; end it when the block is left, also by an error.

        Raises StackRunning, StackFailed, ServerFailed, and Stopped if asked to stop.
        """
        self._folder.make()
        lock = self._folder.lock(self._stop_signal.pause)
        try:
            _check_port(self._plan.host, self._port)
            self._guard = OrphanGuard(lock)
            try:
                self._start()
                yield
            finally:
                self._stop()
                self._guard.close()
        finally:
            os.close(lock)

    def supervise(self) -> None:
        """Restart parts that die, until asked to stop."""
        supervisor = Supervisor(self._parts, say=self._say)
        while not self._stop_signal.asked:
            time.sleep(_POLL)
            if supervisor.check():
                self._write_stack_file()

    # --- starting ---

    def _start(self) -> None:
        self._make_servers()
        with self._preparing_network() as wait_for_network:
            for server in (self._redis, self._s3):
                self._start_server(server)
            self._api = self._start_program("api", api_command(self._plan.host, self._port))
            wait_for_network()
        self._workers = [
            self._start_program(f"worker-{number}", worker_command(number, self._plan.concurrency))
            for number in range(1, self._plan.workers + 1)
        ]
        self._wait_until_ready()
        self._write_stack_file()

    def _make_servers(self) -> None:
        self._keys = self._folder.keys()
        self._redis = ValkeyServer(self._folder.path / "valkey", password=self._keys.redis_password)
        self._s3 = SeaweedServer(
            self._folder.path / "s3",
            bucket=BUCKET,
            access_key=self._keys.access_key,
            secret_key=self._keys.secret_key,
        )

    @contextmanager
    def _preparing_network(self) -> Iterator[Callable[[], None]]:
        """Find the weights and export the network before the workers start, so that no worker has to.

        Yield a function that waits for the end. The first time it takes seconds on one core; meanwhile the
        others start what needs no network.
        """
        self._say("preparing the depth network (the first time, this takes up to a minute)")
        settings = Settings.from_environ(self._environ())
        if settings.engine == "simulated":
            self._say("WARNING: the engine is SIMULATED, for benchmarks only: no depth maps will be made")
        else:
            # If there are no weights, nothing is started.
            find_weights(settings)
        program = self._program("prepare", _python("fathom.stack.prepare"))
        # The log of an earlier run must not explain how this one failed.
        program.log_path.unlink(missing_ok=True)
        program.start()
        try:
            yield partial(self._wait_for_network, program)
        finally:
            program.stop()

    def _wait_for_network(self, program: Program) -> None:
        while (code := program.exit_code()) is None:
            self._stop_signal.pause()
        if code != 0:
            raise StackFailed(log_tail(program.log_path, lines=5) or "The depth network was not prepared.")

    def _start_server(self, server: ValkeyServer | SeaweedServer) -> None:
        self._say(f"starting {server.name}")
        server.log_path = self._folder.log(server.name)
        self._parts.append(server)
        server.start(timeout=READY_WITHIN)

    def _start_program(self, name: str, command: Sequence[str]) -> Program:
        program = self._program(name, command)
        self._parts.append(program)
        program.start()
        return program

    def _program(self, name: str, command: Sequence[str]) -> Program:
        return Program(
            name,
            command,
            environ=self._environ(),
            # The caller's folder may hold files that shadow our packages; this one does not.
            folder=self._folder.path,
            log_path=self._folder.log(name),
            guard=self._guard,
        )

    def _environ(self) -> dict[str, str]:
        """Return the settings of our programs; the caller's other `FATHOM_*` stay in force."""
        # The caller's own setting, even an empty one, comes before the folder's secret.
        secret = {"FATHOM_WEBHOOK_SECRETS": self._keys.webhook_secret}
        environ = {**secret, **self._plan.environ, **self._redis.environ(), **self._s3.environ()}
        settings = Settings.from_environ(environ)
        # Other machines cannot reach the embedded S3, so the API passes on all files itself.
        public = self._s3.endpoint_url if self._plan.host in _LOOPBACK_HOSTS else ""
        return environ | {
            "FATHOM_S3_PUBLIC_URL": public,
            # Our programs run in another folder than the caller's.
            "FATHOM_CACHE_DIR": str(settings.cache_dir.absolute()),
            "FATHOM_WEIGHTS": _absolute_weights(settings.weights),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_until_ready(self) -> None:
        self._say("waiting for the API and the workers")
        programs = [self._api, *self._workers]
        deadline = time.monotonic() + READY_WITHIN
        while (self._readiness().get("slots") or 0) < self._plan.slots:
            for program in programs:
                if not program.is_running():
                    raise StackFailed(_report(program, "ended at once"))
            if time.monotonic() > deadline:
                reports = "\n".join(_report(program, "may be why") for program in programs)
                raise StackFailed(f"The stack was not ready within {READY_WITHIN:.0f} s.\n{reports}")
            self._stop_signal.pause()

    def _readiness(self) -> Mapping[str, Any]:
        """Return what `/readyz` says; an empty mapping while nothing answers there."""
        try:
            return dict(httpx.get(f"{self.url}/readyz", timeout=5.0, trust_env=False).json())
        except (httpx.HTTPError, ValueError):
            return {}

    def _write_stack_file(self) -> None:
        s3 = {"endpoint": self._s3.endpoint_url, "bucket": BUCKET}
        s3 |= {"access_key": self._keys.access_key, "secret_key": self._keys.secret_key}
        pids = {"redis": self._redis.pid, "s3": self._s3.pid, "api": self._api.pid}
        workers = [worker.pid for worker in self._workers]
        stack = {"api": self.url, "redis": self._redis.url, "s3": s3, "pids": {**pids, "workers": workers}}
        write_private(self.stack_file, stack)

    # --- ending ---

    def _stop(self) -> None:
        """End everything in order: our programs first, so that workers can release their leases."""
        self.stack_file.unlink(missing_ok=True)
        programs = [part for part in self._parts if isinstance(part, Program)]
        for program in programs:
            program.ask_to_end()
        deadline = time.monotonic() + WORKER_GRACE
        while any(program.is_running() for program in programs) and time.monotonic() < deadline:
            if self._stop_signal.hurry:
                break
            time.sleep(_POLL)
        for part in reversed(self._parts):
            if self._stop_signal.hurry:
                part.stop_grace = HASTY_GRACE
            part.stop()


def _check_port(host: str, port: int) -> None:
    """Raise StackFailed if the API cannot listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise StackFailed(
                f"Cannot listen on {host}, port {port}: {exc.strerror}. Choose another with --port."
            ) from exc


def _absolute_weights(weights: str) -> str:
    """Return weights given as a path as an absolute one, and a word such as `auto` as it is."""
    is_path = os.sep in weights or weights.endswith((".pt", ".safetensors"))
    return str(Path(weights).expanduser().absolute()) if is_path else weights


def _report(program: Program, fault: str) -> str:
    return f"{program.name} {fault}. The end of {program.log_path}:\n{log_tail(program.log_path)}"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _python(module: str, *arguments: str) -> list[str]:
    # -P: do not import from the working directory.
    return [sys.executable, "-P", "-m", module, *arguments]


def worker_command(number: int, concurrency: int) -> list[str]:
    """Return the command line of a worker with so many children; its number makes its name unique."""
    options = [f"--concurrency={concurrency}", f"--hostname=worker-{number}@%h"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return _python("celery", "-A", "worker.app", "worker", *options)


def api_command(host: str, port: int) -> list[str]:
    """Return the command line of the API at an address."""
    return _python(
        "gunicorn", "-c", "python:api.server.gunicorn_conf", "--bind", _authority(host, port), "api.wsgi:app"
    )
