"""What a big job costs in Valkey: its memory, and a look at how it stands."""

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

#: Bytes of Valkey that a job of 100,000 images may take.
MEMORY_GOAL = 5_000_000
#: One image in so many fails, each with a sentence of its own kind.
_FAILS = 10
_FAILURE = ImageFailure(
    code="image_corrupt",
    message="The file is damaged or incomplete; no depth is made from part of a picture.",
)
_LOOKS = 500
_LEASE = 1000


def measure_cost(url: str) -> dict[str, Any]:
    """Work a big job off, with failures, and see what it weighs and what a look at it takes."""
    with connect_redis(url) as client, Resp(url, timeout=60.0) as valkey:
        store = RedisJobStore(client)
        small, big = _create(store, SMALL), _create(store, BIG)
        memory = {"new": _bytes(valkey, big)}
        _work_off(store, SMALL // 2)
        _work_off(store, BIG // 2)
        memory["half_done"] = _bytes(valkey, big)
        looks = {"10_images": _look(store, valkey, small), "100000_images": _look(store, valkey, big)}
        _work_off(store, BIG)
        memory["all_done_a_tenth_failed"] = _bytes(valkey, big)
        for job_id in (small, big):
            store.delete(job_id)
    ratio = looks["100000_images"]["script_us"] / looks["10_images"]["script_us"]
    return {"bytes": memory, "bytes_goal": MEMORY_GOAL, "look": looks, "look_ratio": round(ratio, 2)}


def _create(store: RedisJobStore, images: int) -> str:
    job_id = new_job_id()
    store.create(
        new_job(job_id, total=images, options=Options(), state=JobState.QUEUED, created_at=time.time())
    )
    return job_id


def _bytes(valkey: Resp, job_id: str) -> int:
    return sum(final_state.bytes_of_keys(valkey, f"*{job_id}*").values())


def _work_off(store: RedisJobStore, images: int) -> None:
    """End `images` images, or all there are, of whatever jobs have their turn."""
    while images > 0 and (lease := store.lease("bench", limit=min(images, _LEASE))) is not None:
        for index in lease.indices:
            store.done(lease, index, failure=_FAILURE if index % _FAILS == 0 else None)
        images -= len(lease.indices)


def _look(store: RedisJobStore, valkey: Resp, job_id: str) -> dict[str, float]:
    """Return what one status costs: microseconds of Valkey, and of the caller in all."""
    meter, seconds = Meter(valkey), []
    for _ in range(_LOOKS):
        began = time.perf_counter()
        store.get(job_id)
        seconds.append(time.perf_counter() - began)
    load = meter.lap()
    return {
        "script_us": round(load.script_us / load.calls, 1),
        "median_us": round(1e6 * statistics.median(seconds), 1),
    }
