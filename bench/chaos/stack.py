"""The stack under attack: Valkey, S3 behind a proxy, the API and workers, each in its own process."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench import processes
from bench.bare_s3 import BareS3
from bench.chaos.observations import Cause
from bench.chaos.observer import Observer
from bench.proxy import Proxy
from fathom.stack.processes import OrphanGuard, Program, log_tail
from fathom.stack.servers import HOST, SeaweedServer, ValkeyServer, free_ports
from fathom.stack.stack import api_command, worker_command
from shared.errors import FathomError

BUCKET = "fathom"
_READY_WITHIN = 120.0
_POLL = 0.02
#: Seconds for which orphans may keep working after the parent was killed, before the worker is restarted.
ORPHAN_SECONDS = 1.0


class ChaosFailed(FathomError):
    """The stack under attack did not start."""

    code = "chaos_failed"


@dataclass(frozen=True, kw_only=True)
class StackSize:
    """The size of the stack, and what it simulates."""

    workers: int = 2
    children: int = 2
    #: Short, so that the leases of killed workers expire soon at the end of a run.
    lease_seconds: float = 5.0
    #: What is simulated, as in FATHOM_SIMULATE.
    simulate: str = "pipeline"
    #: How long the simulated pipeline sleeps for a photo.
    image_seconds: float = 0.0
    #: Additional settings.
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        return self.workers * self.children


class ChaosStack:
    """Starts all parts in order; `restart_dead` keeps them alive. Use it from one thread."""

    def __init__(self, folder: Path, size: StackSize, observer: Observer) -> None:
        self.size = size
        self._folder = folder
        self._observer = observer
        self.valkey = ValkeyServer(folder / "valkey")
        self.s3 = SeaweedServer(
            folder / "s3",
            bucket=BUCKET,
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
        )
        self._api_port = free_ports(1)[0]
        #: For every ended worker: when it ended, and the processes that it had.
        self._ended: dict[str, tuple[float, frozenset[int]]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the stack while the block runs; end every process, whatever its state."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, lock)
            guard = OrphanGuard(lock)
            stack.callback(guard.close)
            stack.enter_context(self.valkey)
            stack.enter_context(self.s3)
            self.proxy = stack.enter_context(
                Proxy((HOST, self.s3.port), observe=self._observer.note_request, identify=self._identify)
            )
            self._start_programs(guard, stack)
            self.wait_until_ready()
            yield

    def _start_programs(self, guard: OrphanGuard, stack: ExitStack) -> None:
        def start(name: str, command: list[str], endpoint: str) -> Program:
            environ = self._environ() | {"FATHOM_S3_ENDPOINT_URL": endpoint}
            log = self._folder / f"{name}.log"
            program = Program(name, command, environ=environ, folder=self._folder, log_path=log, guard=guard)
            program.start()
            stack.callback(program.stop)
            return program

        self.api = start("api", api_command(HOST, self._api_port), self.s3.endpoint_url)
        self.workers = [
            start(f"worker-{number}", worker_command(number, self.size.children), self.proxy.url)
            for number in range(1, self.size.workers + 1)
        ]

    def _environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FATHOM_")}
        return (
            inherited
            | self.valkey.environ()
            | self.s3.environ()
            | {
                # The programs run in another folder.
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "FATHOM_S3_PUBLIC_URL": self.s3.endpoint_url,
                "FATHOM_ENGINE": "simulated",
                "FATHOM_SIMULATE": self.size.simulate,
                "FATHOM_SIMULATE_SECONDS": str(self.size.image_seconds),
                **self.size.settings,
                "FATHOM_LEASE_SECONDS": str(self.size.lease_seconds),
                "FATHOM_CACHE_DIR": str(self._folder / "cache"),
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _identify(self, port: int) -> int | None:
        return processes.owner_of(port, self.proxy.port)

    # --- clients ---

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{HOST}:{self._api_port}", timeout=30.0, trust_env=False)

    def bare_s3(self) -> BareS3:
        return BareS3(self.s3.endpoint_url, BUCKET, self.s3.access_key, self.s3.secret_key)

    def slots(self) -> int:
        """Return the slots of living workers, as the API reports them; 0 while it does not answer."""
        with suppress(httpx.HTTPError, ValueError), self.http() as api:
            return int(api.get("/readyz").json().get("slots") or 0)
        return 0

    def wait_until_ready(self) -> None:
        """Wait until every slot is available. Raises ChaosFailed."""
        self.wait("all slots", lambda: self.slots() >= self.size.slots, seconds=_READY_WITHIN)

    def wait(self, what: str, check: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `check` returns True, and restart dead programs meanwhile. Raises ChaosFailed."""
        deadline = time.monotonic() + seconds
        while not check():
            self.restart_dead()
            if time.monotonic() > deadline:
                logs = [log_tail(program.log_path, lines=8) for program in (self.api, *self.workers)]
                raise ChaosFailed("\n".join((f"{what}: not within {seconds:g} s.", *logs)))
            time.sleep(_POLL)

    # --- processes ---

    def children(self) -> list[int]:
        """Return the children of all living workers."""
        found = []
        for worker in self.workers:
            if worker.is_running():
                with suppress(OSError):
                    found += processes.children(worker.pid)
        return found

    def kill(self, pids: frozenset[int]) -> None:
        """Kill processes and note the fault."""
        began = time.monotonic()
        _kill(pids)
        self._observer.note_fault(Cause.KILL, began, pids)

    def kill_parent(self, group: int) -> None:
        """Kill only the parent of a worker. Its children end by themselves, or `restart_dead` kills them."""
        (worker,) = (worker for worker in self.workers if worker.pid == group)
        self._ended[worker.name] = (time.monotonic(), processes.members(group))
        _kill({group})

    def restart_dead(self) -> None:
        """Restart dead programs. A worker must wait until its orphans have ended, at most ORPHAN_SECONDS."""
        for program in (self.api, *self.workers):
            if not program.is_running():
                self._restart(program)

    def _restart(self, program: Program) -> None:
        orphans = processes.members(program.pid)
        began, lost = self._ended.setdefault(program.name, (time.monotonic(), orphans))
        if orphans and time.monotonic() < began + ORPHAN_SECONDS:
            return
        _kill(orphans)
        if lost:
            self._observer.note_fault(Cause.KILL, began, lost | orphans)
        del self._ended[program.name]
        program.start()


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
