"""Restore jobs on a real Valkey while others use it, and detect when that is needed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from fathom.stack.servers import ValkeyServer
from shared.errors import InvalidTransition, JobNotFound, JobStoreUnavailable
from shared.jobs.job import Counts, FinalizeClaim, Job, JobState, Phase, Range
from shared.jobstore.redis_store import RESTORE_AT_ONCE, RedisJobStore
from shared.redis.client import connect_redis
from tests.conftest import start_or_skip
from tests.contracts.job_store import CORRUPT, ONE_RANGE, a_created, a_job, end_lease, take
from tests.integration.test_job_store import bits
from tests.store_invariants import StoredJobs
from tests.waiting import eventually


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey that a test may stop."""
    server = start_or_skip(ValkeyServer(tmp_path / "valkey"))
    yield server
    server.stop()


def test_restoring_a_running_job_ends_every_image_once(valkey_url: str, client: redis.Redis):
    store = RedisJobStore(client)
    job = a_job(3000)
    store.create(job)
    known = range(0, 3000, 3)

    def work(worker: int) -> int:
        images = 0
        with connect_redis(valkey_url) as own:
            mine = RedisJobStore(own)
            while mine.get(job.id).state is not JobState.FINALIZING:
                if (lease := mine.lease(f"worker {worker}", limit=7)) is not None:
                    images += len(lease.indices)
                    end_lease(mine, lease)
        return images

    def restore(_: int) -> None:
        with connect_redis(valkey_url) as own:
            RedisJobStore(own).restore(job, succeeded=known, failures={1: CORRUPT})

    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(work, number) for number in range(4)]
        list(pool.map(restore, range(2)))
        worked = sum(worker.result() for worker in workers)

    counts = store.get(job.id).counts
    assert counts.pending == 0
    assert counts == bits(client, job.id)
    # Two thirds must be leased, and the others only if they were leased before their outcomes were restored.
    assert 1999 <= worked < 3000
    StoredJobs(client).check()


def test_a_job_deleted_while_it_is_restored_stays_deleted(client: redis.Redis):
    deleted = a_job(2000)

    class Deleting(redis.Redis):
        """Deletes the job before the third part of it is restored."""

        scripts = 0

        def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
            if self.scripts == 3:
                RedisJobStore(client).delete(deleted.id)
            answer = super().evalsha(sha, numkeys, *args)
            self.scripts += 1
            return answer

    deleting = Deleting(connection_pool=client.connection_pool)

    RedisJobStore(deleting).restore(deleted, succeeded=range(2000))

    assert deleting.scripts == 4
    assert RedisJobStore(client).list().items == ()
    StoredJobs(client).check()


def test_an_interrupted_restore_is_continued_by_the_next(client: redis.Redis):
    job = a_job(2000)

    class Dying(redis.Redis):
        scripts = 0

        def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
            if self.scripts == 3:
                raise redis.ConnectionError
            answer = super().evalsha(sha, numkeys, *args)
            self.scripts += 1
            return answer

    with pytest.raises(JobStoreUnavailable):
        RedisJobStore(Dying(connection_pool=client.connection_pool)).restore(job, succeeded=range(1999))
    store = RedisJobStore(client)
    # It leases no image that may be done already.
    assert store.get(job.id).counts.succeeded == 2 * RESTORE_AT_ONCE
    assert store.lease("worker", limit=8) is None

    store.restore(job, succeeded=range(1999))

    assert store.get(job.id).counts == Counts(total=2000, succeeded=1999)
    assert take(store).indices == (1999,)
    StoredJobs(client).check()


def test_a_restore_works_in_short_steps(client: redis.Redis):
    steps: list[int] = []

    class ObservedRedis(redis.Redis):
        def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
            steps.append(len(args))
            return super().evalsha(sha, numkeys, *args)

    watching = RedisJobStore(ObservedRedis(connection_pool=client.connection_pool))

    watching.restore(a_job(20_000), succeeded=range(0, 20_000, 2), failures={1: CORRUPT})

    # A root, a job, whether it has ended; then each image and its outcome.
    assert max(steps) <= 3 + 2 * RESTORE_AT_ONCE <= 1003
    assert len(steps) >= 10_001 / RESTORE_AT_ONCE + 2


VERBS = ("pause", "resume", "resume", "cancel", "retry", "expire", "delete", "finish")


class RandomCalls:
    """Calls random verbs of a few jobs, and restores them in between."""

    def __init__(self, url: str, jobs: list[Job], seed: int) -> None:
        self._url = url
        self._jobs = jobs
        self._chance = random.Random(seed)

    def __call__(self) -> None:
        with connect_redis(self._url) as client:
            store = RedisJobStore(client, retry_delays=(0.01,))
            for _ in range(150):
                # The state of a job may not allow the verb, and the job may be deleted.
                with suppress(InvalidTransition, JobNotFound):
                    self._chance.choice((self._restore, self._work, self._work, self._work, self._ask))(store)

    def _restore(self, store: RedisJobStore) -> None:
        job, chance = self._chance.choice(self._jobs), self._chance
        state = chance.choice([JobState.QUEUED] * 6 + [JobState.PARTIAL, JobState.PAUSED])
        known = chance.sample(range(job.counts.total), job.counts.total // 4)
        store.restore(
            replace(job, state=state), succeeded=known[1:], failures=dict.fromkeys(known[:1], CORRUPT)
        )

    def _work(self, store: RedisJobStore) -> None:
        if (lease := store.lease("worker", limit=9)) is None:
            return
        for index in self._chance.sample(lease.indices, len(lease.indices)):
            if lease.phase is Phase.MEASURE:
                store.measured(lease, index, Range(low=0, high=1))
            elif self._chance.random() < 0.05:
                store.charge(lease, index, CORRUPT)
            elif self._chance.random() < 0.9:
                store.done(lease, index)
        store.give_back(lease.id)

    def _ask(self, store: RedisJobStore) -> None:
        verb, job_id = self._chance.choice(VERBS), self._chance.choice(self._jobs).id
        if verb == "finish":
            claim = store.claim_finalize() or FinalizeClaim(job_id=job_id, number=1)
            store.finish(claim, JobState.CANCELED)
        elif verb == "expire":
            store.expire(job_id, before=store.now() + 1)
        else:
            getattr(store, verb)(job_id)


@pytest.mark.parametrize("seed", range(3))
def test_verbs_during_restores_keep_redundant_data_consistent(
    valkey_url: str, client: redis.Redis, seed: int
):
    kinds: list[dict[str, Any]] = [
        {},
        {"options": ONE_RANGE, "owner": "me"},
        {"owner": "me", "urgent": True},
        {"bytes": 5},
    ]
    jobs = [a_job(600, **kind) for kind in kinds]

    with ThreadPoolExecutor(6) as pool:
        hammers = [pool.submit(RandomCalls(valkey_url, jobs, 10 * seed + number)) for number in range(6)]
        for hammer in hammers:
            hammer.result()

    RedisJobStore(client).pending_chunks(8, at_most=9)
    StoredJobs(client).check()


class TestReconciled:
    """Any event that may lose data also resets whether the jobs were compared with the object store."""

    @pytest.fixture
    def own_store(self, own_server: ValkeyServer) -> Iterator[RedisJobStore]:
        with connect_redis(own_server.url) as client:
            store = RedisJobStore(client)
            assert not store.is_reconciled()
            store.mark_reconciled()
            assert store.is_reconciled()
            yield store

    def test_another_process_sees_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore
    ) -> None:
        with connect_redis(own_server.url) as client:
            assert RedisJobStore(client).is_reconciled()

    def test_a_restart_resets_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore
    ) -> None:
        job_id = a_created(own_store)
        own_server.stop()
        own_server.start()

        assert not own_store.is_reconciled()
        assert own_store.get(job_id).counts == Counts(total=10)
        own_store.mark_reconciled()
        assert own_store.is_reconciled()

    def test_a_loss_of_all_data_resets_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore
    ) -> None:
        with connect_redis(own_server.url) as client:
            client.flushall()

        assert not own_store.is_reconciled()

    def test_a_loss_of_all_data_during_recovery_resets_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore
    ) -> None:
        with connect_redis(own_server.url) as client:
            client.flushall()
            assert not own_store.is_reconciled()
            client.flushall()
            # Another process asks, too.
            assert not RedisJobStore(client).is_reconciled()

        own_store.mark_reconciled()

        assert not own_store.is_reconciled()

    def test_an_older_copy_resets_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore
    ) -> None:
        own_server.stop()
        copy = own_server.data_dir.with_name("copy")
        shutil.copytree(own_server.data_dir, copy)
        own_server.start()
        own_store.is_reconciled()
        own_store.mark_reconciled()
        own_server.stop()
        shutil.rmtree(own_server.data_dir)
        shutil.copytree(copy, own_server.data_dir)
        own_server.start()

        assert not own_store.is_reconciled()

    def test_a_failover_resets_the_reconciliation(
        self, own_server: ValkeyServer, own_store: RedisJobStore, tmp_path: Path
    ) -> None:
        replica = start_or_skip(ValkeyServer(tmp_path / "replica"))
        try:
            with connect_redis(own_server.url) as client:
                client.config_set("repl-diskless-sync-delay", 0)
            with connect_redis(replica.url) as client:
                client.replicaof("127.0.0.1", str(own_server.port))
                eventually(lambda: client.get("{fathom}:reconciled"))
                own_server.stop()
                client.replicaof("NO", "ONE")

                assert not RedisJobStore(client).is_reconciled()
        finally:
            replica.stop()
