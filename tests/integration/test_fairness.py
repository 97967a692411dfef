"""The fair queue on a real Valkey, counted in images and leases and not in time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pytest

from fathom.options import Options
from shared.jobs.job import JobState, Lease, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis

BIG, SMALL, LEASE = 100_000, 10, 8


@pytest.fixture
def jobs(valkey_url: str) -> Iterator[RedisJobStore]:
    with connect_redis(valkey_url) as client:
        yield RedisJobStore(client)


def create(jobs: RedisJobStore, images: int, **facts: Any) -> str:
    job_id = new_job_id()
    record: dict[str, Any] = {"options": Options(), "state": JobState.QUEUED, "created_at": time.time()}
    jobs.create(new_job(job_id, total=images, **record | facts))
    return job_id


class SteppedWorkers:
    """Workers that need the same time for every image: in each step, each ends one image."""

    def __init__(self, jobs: RedisJobStore, workers: int) -> None:
        self._jobs = jobs
        self._in_hand: list[tuple[Lease, deque[int]] | None] = [None] * workers
        #: Leases taken so far, by job.
        self.leases: Counter[str] = Counter()

    def step(self) -> None:
        for worker in range(len(self._in_hand)):
            if self._in_hand[worker] is None:
                self._in_hand[worker] = self._take(f"worker-{worker}")
        for worker, held in enumerate(self._in_hand):
            if held is not None:
                lease, images = held
                self._jobs.done(lease, images.popleft())
                self._in_hand[worker] = held if images else None

    def steps_until_done(self, job_id: str, *, most: int = 1000) -> int:
        for steps in range(1, most):
            self.step()
            if not self._jobs.get(job_id).counts.pending:
                return steps
        raise AssertionError(f"Not done after {most} steps.")

    def _take(self, worker: str) -> tuple[Lease, deque[int]] | None:
        lease = self._jobs.lease(worker, limit=LEASE)
        if lease is None:
            return None
        self.leases[lease.job_id] += 1
        return lease, deque(lease.indices)


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
@pytest.mark.parametrize("arrives_after", [0, 3, 20])
def test_a_small_job_beside_a_big_one_takes_at_most_three_times_as_long_plus_one_lease(
    jobs: RedisJobStore, workers: int, arrives_after: int
) -> None:
    alone = SteppedWorkers(jobs, workers).steps_until_done(create(jobs, SMALL))
    create(jobs, BIG)
    stepped = SteppedWorkers(jobs, workers)
    for _ in range(arrives_after):
        stepped.step()
    beside = stepped.steps_until_done(create(jobs, SMALL))

    assert alone == (SMALL if workers == 1 else LEASE)
    assert beside <= 3 * alone + LEASE


def test_the_leases_of_a_small_and_a_big_job_alternate(jobs: RedisJobStore) -> None:
    big = create(jobs, BIG)
    stepped = SteppedWorkers(jobs, 1)
    for _ in range(10 * LEASE):
        stepped.step()
    before = stepped.leases[big]
    small = create(jobs, SMALL)
    stepped.steps_until_done(small)

    assert stepped.leases[small] == 2
    assert stepped.leases[big] - before <= 2


@pytest.mark.parametrize("workers", [1, 64])
def test_the_many_jobs_of_one_owner_do_not_delay_the_job_of_another(
    jobs: RedisJobStore, workers: int
) -> None:
    alone = SteppedWorkers(jobs, workers).steps_until_done(create(jobs, SMALL, owner="one"))
    for _ in range(200):
        create(jobs, 1000, owner="many")
    stepped = SteppedWorkers(jobs, workers)
    for _ in range(3 * LEASE):
        stepped.step()
    beside = stepped.steps_until_done(create(jobs, SMALL, owner="one"))

    assert beside <= 3 * alone + LEASE


def test_two_owners_share_evenly_however_many_jobs_each_has(jobs: RedisJobStore) -> None:
    many = [create(jobs, 1000, owner="many") for _ in range(50)]
    single = create(jobs, BIG, owner="one")
    stepped = SteppedWorkers(jobs, 4)
    for _ in range(25 * LEASE):
        stepped.step()

    assert stepped.leases.total() == 100
    assert abs(stepped.leases[single] - sum(stepped.leases[job] for job in many)) <= 1
    # The jobs of the owner with many take turns.
    assert max(stepped.leases[job] for job in many) == 1


def test_jobs_of_one_owner_share_by_weight(jobs: RedisJobStore) -> None:
    light, heavy = create(jobs, BIG, weight=1.0), create(jobs, BIG, weight=3.0)
    stepped = SteppedWorkers(jobs, 4)
    for _ in range(20 * LEASE):
        stepped.step()

    assert stepped.leases[heavy] == pytest.approx(3 * stepped.leases[light], abs=4)


def test_a_big_job_needs_only_its_bitmaps_more_than_a_small_one(jobs: RedisJobStore, valkey_url: str) -> None:
    """Redis holds no names, lists or messages of 100,000 images: three bits each, at most."""
    sizes = []
    with connect_redis(valkey_url) as client:
        for images in (SMALL, BIG):
            job_id = create(jobs, images)
            keys = list(client.scan_iter(f"*{job_id}*"))
            sizes.append(sum(client.memory_usage(key) or 0 for key in keys))

    assert sizes[1] - sizes[0] <= 3 * BIG / 8
