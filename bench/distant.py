"""What a distant object store costs a child: `python -m bench.distant [--latency MS] --json`.

The real lease loop of one child works jobs off, on a real Valkey and a real S3 server behind a proxy that
delays every request. Photos take their time asleep. Jobs with and without the delay take turns, so that the
ratio is of one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fairness.simulated_workers import LEASE_IMAGES, SleepingPipeline, make_fetcher
from bench.faults import Mode
from bench.proxy import Proxy
from fathom.options import Options
from fathom.stack.servers import SeaweedServer, ValkeyServer
from shared.jobs import object_keys
from shared.jobs.job import JobState, Range, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.port import JobStore
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.port import ObjectStore
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.tracing import OFF
from shared.redis.client import connect_redis
from shared.settings import Settings
from worker.child.lease_loop import LeaseLoop, Timeouts
from worker.child.tracing import Traces
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.supervision.breaker import Breakers
from worker.supervision.heartbeat import Heartbeat, HeartbeatSlot

#: Bytes of a photo and of its heatmap.
_PHOTO, _HEATMAP = 1_000_000, 300_000
GOAL = 0.95


class StoringPipeline(SleepingPipeline):
    """Takes its time for a photo, and makes a heatmap and a sidecar of zeros."""

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        super().render(data, options, common=common, is_unwanted=is_unwanted)
        return (
            ResultFile(
                output="heatmap", file_name="heatmap.png", content_type="image/png", data=bytes(_HEATMAP)
            ),
            ResultFile(output="depth", file_name="depth.json", content_type="application/json", data=b"{}"),
        )


@dataclass(frozen=True, kw_only=True)
class DistantStores:
    """The stores of a run, and the proxy before the object store."""

    jobs: JobStore
    objects: ObjectStore
    proxy: Proxy


def measure(*, images: int, rounds: int, image_seconds: float, latency: float) -> dict[str, Any]:
    """Return the images per second with and without the delay of `latency` seconds, and their ratio."""
    rates: dict[float, list[float]] = {0.0: [], latency: []}
    with run_stores() as stores:
        for delay in (0.0, *(rounds * [0.0, latency])):
            # A request waits, and so does its answer.
            stores.proxy.set(Mode.SLOW, latency=delay / 2)
            rates[delay].append(_rate(stores, images, image_seconds))
    near, distant = statistics.median(rates[0.0][1:]), statistics.median(rates[latency])
    return {
        "images": images,
        "image_ms": 1000 * image_seconds,
        "latency_ms": 1000 * latency,
        "images_per_second": {"near": round(near, 2), "distant": round(distant, 2)},
        "ratio": round(distant / near, 3),
        "goal": GOAL,
    }


@contextmanager
def run_stores() -> Iterator[DistantStores]:
    with tempfile.TemporaryDirectory(prefix="fathom-distant-") as name:
        folder = Path(name)
        s3 = SeaweedServer(folder / "s3", bucket="fathom", access_key="bench", secret_key="bench-secret")
        with (
            ValkeyServer(folder / "valkey") as valkey,
            s3,
            Proxy(("127.0.0.1", s3.port)) as proxy,
            connect_redis(valkey.url) as client,
        ):
            environ = {**s3.environ(), **valkey.environ(), "FATHOM_S3_ENDPOINT_URL": proxy.url}
            objects = S3ObjectStore.from_settings(Settings.from_environ(environ))
            yield DistantStores(jobs=RedisJobStore(client), objects=objects, proxy=proxy)


def _rate(stores: DistantStores, images: int, image_seconds: float) -> float:
    """Work a job off; return its images per second."""
    job_id = new_job_id()
    for index in range(images):
        stores.objects.put(object_keys.input_image(job_id, index), bytes(_PHOTO))
    job = new_job(job_id, total=images, options=Options(), state=JobState.QUEUED, created_at=time.time())
    stores.jobs.create(job)
    began = time.monotonic()
    _child(stores, image_seconds).work(600)
    seconds = time.monotonic() - began
    assert stores.jobs.get(job_id).counts.succeeded == images
    return images / seconds


def _child(stores: DistantStores, image_seconds: float) -> LeaseLoop:
    return LeaseLoop(
        name="child",
        jobs=stores.jobs,
        objects=stores.objects,
        fetcher=make_fetcher(stores.objects, lambda: False),
        pipeline=StoringPipeline(image_seconds),
        timeouts=Timeouts(lease=15.0, image=60.0),
        lease_images=LEASE_IMAGES,
        draining=lambda: False,
        breakers=Breakers(),
        heartbeat=Heartbeat(HeartbeatSlot(), memory_bytes=0),
        traces=Traces(OFF, seconds=dict, facts=dict),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.distant", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=int, default=160, help="of each job (160)")
    parser.add_argument("--rounds", type=int, default=3, help="jobs with and without the delay (3)")
    parser.add_argument("--image-ms", type=float, default=80.0, help="what a photo takes (80)")
    parser.add_argument("--latency", type=float, default=30.0, help="of a request and its answer, in ms (30)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    args = parser.parse_args(argv)
    seconds = {"image_seconds": args.image_ms / 1000, "latency": args.latency / 1000}
    report = measure(images=args.images, rounds=args.rounds, **seconds)
    print(json.dumps(report, indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
