"""Measure how fast one Valkey leases images and records their ends.

    python -m bench.dispatch --json

1 to 16 client processes take leases of 8 images and end each image, through the job store that workers
use; there are no photos, no S3 and no Celery. `bare` calls only `lease` and `done`; `as a worker` also names
the current image before each, which is one more call. On few cores, the clients are slower than Valkey, so
its own limit is computed from its CPU time per image.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.synchronize
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.resp import Resp
from fathom.options import Options
from fathom.stack.servers import ValkeyServer
from shared.jobs.job import JobState, Lease, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis

PROCESSES = (1, 2, 4, 8, 16)
LEASE_IMAGES = 8
#: Images per second that one Valkey must lease and end.
GOAL = 5000
#: Images of the job of a round: more than a round can end.
_JOB_IMAGES = 1_000_000
#: Calls that measure the cost of each script.
_PROBES = 2000


@dataclass(frozen=True, kw_only=True)
class ServerLoad:
    """What one Valkey did between two moments."""

    seconds: float
    cpu_seconds: float
    #: Calls and microseconds of scripts, as Valkey reports them.
    calls: int
    script_us: float


class Meter:
    """Reads the statistics of Valkey."""

    def __init__(self, valkey: Resp) -> None:
        self._valkey = valkey
        self._last = self._read()

    def lap(self) -> ServerLoad:
        """Return the work since the last lap."""
        before, self._last = self._last, self._read()
        seconds, cpu, calls, us = (now - then for now, then in zip(self._last, before, strict=True))
        return ServerLoad(seconds=seconds, cpu_seconds=cpu, calls=int(calls), script_us=us)

    def _read(self) -> tuple[float, float, float, float]:
        cpu, stats = self._info("cpu"), self._info("commandstats")
        words = (part.partition("=") for part in stats.get("cmdstat_evalsha", "").split(",") if part)
        script = {name: float(value) for name, _, value in words}
        used = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        return time.monotonic(), used, script.get("calls", 0.0), script.get("usec", 0.0)

    def _info(self, section: str) -> dict[str, str]:
        lines = self._valkey.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def measure(processes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return the report, with one round for each number of processes and each way."""
    with (
        tempfile.TemporaryDirectory(prefix="fathom-dispatch-") as folder,
        ValkeyServer(Path(folder)) as server,
        Resp(server.url, timeout=60.0) as valkey,
    ):
        costs = _measure_scripts(server.url, valkey)
        rounds = [
            _measure_round(server.url, valkey, count, seconds, as_worker=as_worker)
            for as_worker in (False, True)
            for count in processes
        ]
        slowest = valkey.call("SLOWLOG", "LEN")
    bare = [each for each in rounds if each["way"] == "bare"]
    return {
        "lease_images": LEASE_IMAGES,
        "script_us": costs,
        "rounds": rounds,
        "growth": [round(each["images_per_second"] / bare[0]["images_per_second"], 2) for each in bare],
        "best_images_per_second": max(each["images_per_second"] for each in bare),
        "valkey_alone_images_per_second": max(each["valkey_alone_images_per_second"] for each in bare),
        "goal": GOAL,
        "commands_over_10_ms": slowest,
    }


# --- rounds -----------------------------------------------------------------------


def _measure_round(url: str, valkey: Resp, count: int, seconds: float, *, as_worker: bool) -> dict[str, Any]:
    """Let `count` processes work on one job for a while."""
    job_id = _create(url)
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(count + 1), spawn.SimpleQueue()
    clients = [
        spawn.Process(target=_work, args=(url, seconds, as_worker, ready, answers), daemon=True)
        for _ in range(count)
    ]
    for client in clients:
        client.start()
    ready.wait(120.0)
    meter = Meter(valkey)
    # No client begins earlier, so every call is counted.
    ready.wait(120.0)
    results = [answers.get() for _ in clients]
    load = meter.lap()
    for client in clients:
        client.join()
    _delete(url, job_id)
    return _summary(count, results, load, as_worker=as_worker)


def _summary(
    count: int, results: Sequence[tuple[int, float]], load: ServerLoad, *, as_worker: bool
) -> dict[str, Any]:
    images = sum(images for images, _ in results)
    cpu_us = 1e6 * load.cpu_seconds / images
    return {
        "way": "as a worker" if as_worker else "bare",
        "processes": count,
        "images_per_second": round(sum(images / seconds for images, seconds in results)),
        "calls_per_image": round(load.calls / images, 3),
        "valkey_cpu_share": round(load.cpu_seconds / load.seconds, 3),
        "valkey_cpu_us_per_image": round(cpu_us, 1),
        "script_us_per_image": round(load.script_us / images, 1),
        "valkey_alone_images_per_second": round(1e6 / cpu_us),
    }


def _work(
    url: str,
    seconds: float,
    as_worker: bool,
    ready: multiprocessing.synchronize.Barrier,
    answers: multiprocessing.queues.SimpleQueue[tuple[int, float]],
) -> None:
    """Take leases and end their images until the time is over; runs in its own process."""
    with connect_redis(url) as client:
        store = RedisJobStore(client)
        store.ping()
        ready.wait(120.0)
        ready.wait(120.0)
        began, images = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            lease = store.lease("bench", limit=LEASE_IMAGES)
            assert lease is not None
            for index in lease.indices:
                if as_worker:
                    store.renew(lease, in_hand=index)
                store.done(lease, index)
            images += len(lease.indices)
        answers.put((images, time.monotonic() - began))


# --- scripts, one by one --------------------------------------------------------------


def _measure_scripts(url: str, valkey: Resp) -> dict[str, float]:
    """Return the microseconds that Valkey takes for each script, one client calling."""
    job_id, costs = _create(url), {}
    with connect_redis(url) as client:
        store, meter = RedisJobStore(client), Meter(valkey)
        leases = [_lease(store) for _ in range(_PROBES // LEASE_IMAGES)]
        costs["lease"] = _cost(meter)
        ways: dict[str, Callable[[Lease, int], object]] = {
            "renew": lambda lease, index: store.renew(lease, in_hand=index),
            "done": store.done,
        }
        for name, way in ways.items():
            for lease in leases:
                for index in lease.indices:
                    way(lease, index)
            costs[name] = _cost(meter)
        for _ in range(_PROBES):
            store.get(job_id)
        costs["get"] = _cost(meter)
    _delete(url, job_id)
    return costs


def _lease(store: RedisJobStore) -> Lease:
    lease = store.lease("bench", limit=LEASE_IMAGES)
    assert lease is not None
    return lease


def _cost(meter: Meter) -> float:
    load = meter.lap()
    return round(load.script_us / load.calls, 1)


def _create(url: str) -> str:
    job_id = new_job_id()
    with connect_redis(url) as client:
        RedisJobStore(client).create(
            new_job(
                job_id, total=_JOB_IMAGES, options=Options(), state=JobState.QUEUED, created_at=time.time()
            )
        )
    return job_id


def _delete(url: str, job_id: str) -> None:
    with connect_redis(url) as client:
        RedisJobStore(client).delete(job_id)


# --- the command ------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    counts = ",".join(map(str, PROCESSES))
    parser.add_argument("--processes", default=counts, help=f"the numbers of client processes ({counts})")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each round (4)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    args = parser.parse_args(argv)
    report = measure([int(word) for word in args.processes.split(",")], args.seconds)
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
