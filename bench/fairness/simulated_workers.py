"""Simulate 64 children of workers on a machine that could not run them.

Each runs the real `worker.child.lease_loop.LeaseLoop`, with its lease renewer, on the real job store, so
Valkey gets the same calls as from 64 processes. But a photo only sleeps, nothing is fetched or stored, the
children are threads of a few processes, and a child without work polls instead of waiting for a ticket.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier, Event
from typing import cast

from fathom.options import Options
from shared.jobs.job import Range
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.port import ObjectStore
from shared.observability.tracing import OFF
from shared.redis.client import connect_redis
from worker.child.fetch import Fetcher
from worker.child.lease_loop import LeaseLoop, Timeouts
from worker.child.tracing import Traces
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.supervision.breaker import Breakers
from worker.supervision.heartbeat import Heartbeat, HeartbeatSlot

LEASE_IMAGES = 8
#: Mean seconds between two polls of an idle child; together, 64 children poll every 8 ms.
_LOOK = 0.5
#: Seconds after which a child checks whether it must stop.
_WORK_SECONDS = 1.0
_READY_WITHIN = 120.0


@dataclass(frozen=True, kw_only=True)
class FleetSize:
    """The number of children and processes, and the time for a photo."""

    children: int = 64
    processes: int = 4
    #: As long as a photo of 12 megapixels takes (docs/performance.md).
    image_seconds: float = 0.08


class NoObjects:
    """The part of an object store that a child uses; every object is empty."""

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        return b""


class SleepingPipeline:
    """Sleeps for every photo and returns nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._never = threading.Event()

    def measure(self, data: bytes, options: Options) -> Range:
        self._never.wait(self._seconds)
        return Range(low=0.0, high=1.0)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        self._never.wait(self._seconds)
        return ()


@contextmanager
def simulated_workers(url: str, size: FleetSize) -> Iterator[None]:
    """Let simulated workers process all jobs in the store at `url` while the block runs."""
    spawn = multiprocessing.get_context("spawn")
    stop, ready = spawn.Event(), spawn.Barrier(size.processes + 1)
    each = size.children // size.processes
    processes = [
        spawn.Process(target=_serve, args=(url, each, size.image_seconds, ready, stop), daemon=True)
        for _ in range(size.processes)
    ]
    for process in processes:
        process.start()
    try:
        ready.wait(_READY_WITHIN)
        yield
    finally:
        stop.set()
        for process in processes:
            process.join()


def _serve(url: str, children: int, image_seconds: float, ready: Barrier, stop: Event) -> None:
    """Run children as threads until `stop` is set; runs in its own process."""
    with connect_redis(url) as client:
        store = RedisJobStore(client)
        store.ping()
        threads = [
            threading.Thread(target=_work, args=(store, f"child-{number}", image_seconds, stop))
            for number in range(children)
        ]
        ready.wait(_READY_WITHIN)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def make_fetcher(objects: ObjectStore, draining: Callable[[], bool]) -> Fetcher:
    return Fetcher(
        objects,
        most_bytes=2**20,
        outbound=None,
        buckets=(),
        call_store=lambda call: call(),
        draining=draining,
    )


def _work(store: RedisJobStore, name: str, image_seconds: float, stop: Event) -> None:
    objects = cast(ObjectStore, NoObjects())
    loop = LeaseLoop(
        name=name,
        jobs=store,
        objects=objects,
        fetcher=make_fetcher(objects, stop.is_set),
        pipeline=SleepingPipeline(image_seconds),
        timeouts=Timeouts(lease=15.0, image=60.0),
        lease_images=LEASE_IMAGES,
        draining=stop.is_set,
        breakers=Breakers(),
        heartbeat=Heartbeat(HeartbeatSlot(), memory_bytes=0),
        traces=Traces(OFF, seconds=dict, facts=dict),
    )
    while not stop.is_set():
        if not loop.work(_WORK_SECONDS):
            stop.wait(random.uniform(0, 2 * _LOOK))
