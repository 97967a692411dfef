"""Measure how long a small job takes alone, and beside other jobs."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.fairness.simulated_workers import FleetSize, simulated_workers
from fathom.options import Options
from shared.jobs.job import ANYONE, JobState, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis

SMALL, BIG = 10, 100_000
#: A small job beside a big one may take this many times as long as alone.
GOAL = 3.0
_POLL = 0.002
#: The longest pause between tries, so that they begin at random moments of the leases.
_PAUSE = 0.3
#: Seconds for which the shares of two owners are measured.
_OBSERVED_SECONDS = 4.0


def measure_small(url: str, tries: int, size: FleetSize) -> dict[str, Any]:
    """Compare a small job alone with one beside a big job."""
    with simulated_workers(url, size), connect_redis(url) as client:
        store = RedisJobStore(client)
        _time_small(store)
        alone = _repeat(tries, lambda: _time_small(store))
        with _job(store, BIG):
            beside = _repeat(tries, lambda: _time_small(store))
    return {"children": size.children, "image_seconds": size.image_seconds, **compare(alone, beside)}


def measure_owners(url: str, tries: int, size: FleetSize, *, jobs: int) -> dict[str, Any]:
    """Compare the small job of one owner alone with one beside the many jobs of another owner.

    Then measure the shares of both while one has many jobs, and the other has one big job.
    """
    with simulated_workers(url, size), connect_redis(url) as client:
        store = RedisJobStore(client)
        alone = _repeat(tries, lambda: _time_small(store, "one"))
        many = [_create(store, BIG // jobs, "many") for _ in range(jobs)]
        beside = _repeat(tries, lambda: _time_small(store, "one"))
        with _job(store, BIG, "one") as single:
            time.sleep(1.0)
            shares = _done_meanwhile(store, [many, [single]])
        for job_id in many:
            store.delete(job_id)
    return {
        "jobs_of_the_other_owner": jobs,
        **compare(alone, beside),
        "images_of_each_owner_meanwhile": shares,
        "share_of_the_owner_with_one_job": round(shares[1] / max(sum(shares), 1), 3),
    }


def compare(alone: Sequence[float], beside: Sequence[float]) -> dict[str, Any]:
    """Return medians and 95th percentiles in seconds, and their ratios."""
    median = statistics.median(alone)
    return {
        "tries": len(beside),
        "alone_median_s": round(median, 3),
        "alone_p95_s": round(percentile_95(alone), 3),
        "beside_median_s": round(statistics.median(beside), 3),
        "beside_p95_s": round(percentile_95(beside), 3),
        "ratio_p95_to_alone_median": round(percentile_95(beside) / median, 2),
        "ratio_p95_to_alone_p95": round(percentile_95(beside) / percentile_95(alone), 2),
        "goal": GOAL,
    }


def percentile_95(seconds: Sequence[float]) -> float:
    """Return the 95th percentile by the nearest-rank method."""
    return sorted(seconds)[max(0, -(-95 * len(seconds) // 100) - 1)]


def _repeat(count: int, attempt: Callable[[], float]) -> list[float]:
    rng, found = random.Random(0), []
    for _ in range(count):
        time.sleep(rng.uniform(0, _PAUSE))
        found.append(attempt())
    return found


def _time_small(store: RedisJobStore, owner: str = ANYONE) -> float:
    """Return the seconds from the creation of a small job to the end of its last image."""
    began = time.monotonic()
    job_id = _create(store, SMALL, owner)
    while store.get(job_id).counts.pending:
        time.sleep(_POLL)
    seconds = time.monotonic() - began
    store.delete(job_id)
    return seconds


def _done_meanwhile(store: RedisJobStore, groups: Sequence[Sequence[str]]) -> list[int]:
    before = [_done(store, group) for group in groups]
    time.sleep(_OBSERVED_SECONDS)
    return [_done(store, group) - was for group, was in zip(groups, before, strict=True)]


def _done(store: RedisJobStore, jobs: Sequence[str]) -> int:
    return sum(store.get(job_id).counts.succeeded for job_id in jobs)


@contextmanager
def _job(store: RedisJobStore, images: int, owner: str = ANYONE) -> Iterator[str]:
    job_id = _create(store, images, owner)
    try:
        yield job_id
    finally:
        store.delete(job_id)


def _create(store: RedisJobStore, images: int, owner: str) -> str:
    job_id = new_job_id()
    store.create(
        new_job(
            job_id,
            total=images,
            options=Options(),
            state=JobState.QUEUED,
            created_at=time.time(),
            owner=owner,
        )
    )
    return job_id
