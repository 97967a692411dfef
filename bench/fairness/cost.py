"""Measure what a big job costs in Valkey: its memory, and the time of a status request."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.chaos import final_state
from bench.dispatch import Meter
from bench.fairness.small_jobs import BIG, SMALL
from bench.resp import Resp
from fathom.options import Options
from shared.jobs.job import ImageFailure, JobState, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis

#: Bytes of Valkey that a job of 100,000 images may use.
MEMORY_GOAL = 5_000_000
#: One image in this many fails.
_FAIL_EVERY = 10
_FAILURE = ImageFailure(
    code="image_corrupt",
    message="The file is damaged or incomplete; no depth is made from part of a picture.",
)
_STATUS_REQUESTS = 500
_LEASE = 1000


def measure_cost(url: str) -> dict[str, Any]:
    """Process a big job, with failures, and measure its memory and its status requests."""
    with connect_redis(url) as client, Resp(url, timeout=60.0) as valkey:
        store = RedisJobStore(client)
        small, big = _create(store, SMALL), _create(store, BIG)
        memory = {"new": _memory(valkey, big)}
        _end_images(store, SMALL // 2)
        _end_images(store, BIG // 2)
        memory["half_done"] = _memory(valkey, big)
        statuses = {
            "10_images": _measure_status(store, valkey, small),
            "100000_images": _measure_status(store, valkey, big),
        }
        _end_images(store, BIG)
        memory["all_done_a_tenth_failed"] = _memory(valkey, big)
        for job_id in (small, big):
            store.delete(job_id)
    ratio = statuses["100000_images"]["script_us"] / statuses["10_images"]["script_us"]
    return {"bytes": memory, "bytes_goal": MEMORY_GOAL, "look": statuses, "look_ratio": round(ratio, 2)}


def _create(store: RedisJobStore, images: int) -> str:
    job_id = new_job_id()
    store.create(
        new_job(job_id, total=images, options=Options(), state=JobState.QUEUED, created_at=time.time())
    )
    return job_id


def _memory(valkey: Resp, job_id: str) -> int:
    return sum(final_state.key_bytes(valkey, f"*{job_id}*").values())


def _end_images(store: RedisJobStore, images: int) -> None:
    """End `images` images, or all there are, of the jobs that have their turn."""
    while images > 0 and (lease := store.lease("bench", limit=min(images, _LEASE))) is not None:
        for index in lease.indices:
            store.done(lease, index, failure=_FAILURE if index % _FAIL_EVERY == 0 else None)
        images -= len(lease.indices)


def _measure_status(store: RedisJobStore, valkey: Resp, job_id: str) -> dict[str, float]:
    """Return the cost of one status request: microseconds in Valkey, and in total."""
    meter, seconds = Meter(valkey), []
    for _ in range(_STATUS_REQUESTS):
        began = time.perf_counter()
        store.get(job_id)
        seconds.append(time.perf_counter() - began)
    load = meter.lap()
    return {
        "script_us": round(load.script_us / load.calls, 1),
        "median_us": round(1e6 * statistics.median(seconds), 1),
    }
