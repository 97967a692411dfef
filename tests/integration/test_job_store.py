"""The job store on a real Valkey: the contract, and what only a real server can get wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from fathom.options import Options
from fathom.stack.servers import ServerMissing, ValkeyServer, free_ports
from shared.errors import JobStoreUnavailable
from shared.jobs.job import Cost, Counts, JobState, Lease, Quota, Range
from shared.jobstore.redis_store import ACTIVE_AT_ONCE, RedisJobStore
from shared.networks import MIDAS_SMALL
from shared.redis.client import connect_redis
from shared.redis.info import look_at_redis
from tests.conftest import start_or_skip
from tests.contracts.job_costs import DEAR, JobCostsContract
from tests.contracts.job_lives import EventsContract, ExpiryContract, JobLivesContract, RestoreContract
from tests.contracts.job_models import JobModelsContract
from tests.contracts.job_owners import JobOwnersContract, QuotaContract
from tests.contracts.job_store import (
    CORRUPT,
    ONE_RANGE,
    PATIENT,
    Advance,
    AttemptsContract,
    EndsContract,
    ImagesContract,
    JobStoreContract,
    TwoPassesContract,
    a_created,
    a_job,
    end_all_leases,
    end_lease,
    take,
)
from tests.finalizing import claim, claimed, finish_as
from tests.rewind import Rewind
from tests.servers import OldestRedis
from tests.store_invariants import StoredJobs
from tests.waiting import eventually

StoreFactory = Callable[..., RedisJobStore]


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> RedisJobStore:
    return RedisJobStore(client)


@pytest.fixture
def patient_store(client: redis.Redis) -> RedisJobStore:
    return RedisJobStore(client, **PATIENT)


@pytest.fixture
def advance(client: redis.Redis) -> Advance:
    return Rewind(client)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey that tests may stop or fill."""
    server = start_or_skip(ValkeyServer(tmp_path))
    yield server
    server.stop()


def bits(client: redis.Redis, job_id: str) -> Counts:
    """Count a job's images by their bitmaps."""
    key = f"{{fathom}}:job:{job_id}"
    return Counts(
        total=int(client.hget(key, "total") or 0),
        succeeded=client.bitcount(f"{key}:ok"),
        failed=client.bitcount(f"{key}:bad"),
        measured=client.bitcount(f"{key}:measured"),
    )


class TestRedisJobStore(
    JobStoreContract, JobOwnersContract, JobLivesContract, JobCostsContract, JobModelsContract
):
    """The real store fulfils the contract."""


class ClusterNode(ValkeyServer):
    """A node with all slots of a Redis Cluster, which still refuses to mix slots in one script."""

    def _configuration(self) -> str:
        # By default the nodes talk to each other 10,000 ports higher, which may be past the last one.
        (between_nodes,) = free_ports(1)
        return super()._configuration() + f"cluster-enabled yes\ncluster-port {between_nodes}\n"


@pytest.fixture(scope="module")
def cluster_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    server = start_or_skip(ClusterNode(tmp_path_factory.mktemp("cluster")))
    with connect_redis(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield client
    server.stop()


@pytest.mark.slow
class TestRedisJobStoreInOneSlot(
    EndsContract, AttemptsContract, TwoPassesContract, ImagesContract,
    EventsContract, QuotaContract, ExpiryContract, RestoreContract,
):  # fmt: skip
    """The parts of the contract that touch every kind of key."""

    @pytest.fixture
    def client(self, cluster: redis.Redis) -> redis.Redis:
        return cluster


@pytest.fixture
def cluster(cluster_node: redis.Redis) -> redis.Redis:
    cluster_node.flushall()
    return cluster_node


def test_the_cluster_server_is_a_cluster(cluster: redis.Redis, valkey_url: str):
    at = cluster.connection_pool.connection_kwargs

    assert look_at_redis(f"redis://{at['host']}:{at['port']}/0").in_cluster
    assert not look_at_redis(valkey_url).in_cluster


@pytest.fixture(scope="module")
def oldest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    try:
        server = OldestRedis(tmp_path_factory.mktemp("oldest")).start()
    except ServerMissing as exc:
        # There is not a wheel of it for every machine, in CI or elsewhere.
        pytest.skip(exc.message)
    with connect_redis(server.url) as client:
        yield client
    server.stop()


@pytest.fixture
def oldest(oldest_server: redis.Redis) -> redis.Redis:
    oldest_server.flushall()
    return oldest_server


@pytest.mark.slow
class TestRedisJobStoreOnTheOldestServer(
    EndsContract, AttemptsContract, TwoPassesContract,
    EventsContract, QuotaContract, ExpiryContract, RestoreContract,
):  # fmt: skip
    """The parts of the contract whose scripts use newer features of servers."""

    @pytest.fixture
    def client(self, oldest: redis.Redis) -> redis.Redis:
        return oldest


def test_the_oldest_server_is_redis_6_2(oldest: redis.Redis) -> None:
    assert oldest.info("server")["redis_version"].startswith("6.2.")


def test_a_lease_expires_by_the_clock_of_the_server(client: redis.Redis):
    store = RedisJobStore(client, lease_seconds=0.05, retry_delays=(0.03,))
    job_id = a_created(store, 1)
    for crash in range(3):
        eventually(lambda: (lease := store.lease("worker", limit=8)) and store.renew(lease, in_hand=0))
        assert store.get(job_id).counts.failed == 0, crash
        eventually(store.reap)

    assert store.get(job_id).state is JobState.FINALIZING


def test_a_finalize_claim_expires_by_the_clock_of_the_server(client: redis.Redis):
    store = RedisJobStore(client, claim_seconds=0.05)
    job_id = a_created(store, 1)
    end_lease(store, take(store))

    assert claimed(store) == job_id
    eventually(lambda: claimed(store) == job_id)


def test_all_keys_are_in_one_slot_of_a_cluster(store: RedisJobStore, client: redis.Redis, advance: Advance):
    a_created(store, 4, options=ONE_RANGE)
    lease = take(store, 3)
    store.measured(lease, 0, Range(low=0, high=1))
    store.done(lease, 1, failure=CORRUPT)
    store.charge(lease, 2, CORRUPT)
    take(store)
    store.register_worker("worker", 1)
    store.acquire("maintenance", "worker", 5)
    store.cancel(a_created(store))

    keys = {key.decode() for key in client.scan_iter()}

    assert len(keys) >= 15
    assert all(key.startswith("{fathom}:") for key in keys)


def test_a_job_that_an_earlier_version_recorded_costs_one(store: RedisJobStore, client: redis.Redis):
    job_id = a_created(store, cost=DEAR, options=ONE_RANGE)
    assert client.hdel(f"{{fathom}}:job:{job_id}", "measure_cost", "render_cost") == 2

    assert store.get(job_id).cost == Cost()
    assert store.pending_chunks(8, at_most=9) == 2
    lease = take(store, 8)
    assert (lease.cost, len(lease.indices)) == (1.0, 8)
    assert client.zscore("{fathom}:turns:batch", "anyone") == 8.0


def test_a_deleted_job_leaves_nothing_behind(store: RedisJobStore, client: redis.Redis):
    job_id = a_created(store, 20, options=ONE_RANGE)
    lease = take(store)
    store.measured(lease, 0, Range(low=0, high=1))
    store.done(lease, 1, failure=CORRUPT)
    store.charge(lease, 2, CORRUPT)
    store.cancel(job_id)

    store.delete(job_id)

    # The virtual times of the fair queue, and the counters of all jobs.
    assert set(client.scan_iter()) == {b"{fathom}:clocks", b"{fathom}:totals"}
    StoredJobs(client).check()


def test_an_ended_job_keeps_only_what_its_results_need(store: RedisJobStore, client: redis.Redis):
    job_id = a_created(store, 20)
    store.charge(take(store, 1), 0, CORRUPT)
    end_lease(store, take(store, 19), failing=frozenset({3}))
    Rewind(client)(2)
    end_all_leases(store)
    finish_as(store, job_id, JobState.PARTIAL)

    prefix = f"{{fathom}}:job:{job_id}"
    assert {key.decode() for key in client.scan_iter(f"{prefix}*")} == {
        prefix, *(f"{prefix}:{name}" for name in ("ok", "bad", "errors", "reasons", "events")),
    }  # fmt: skip
    store.expire(job_id, before=store.now() + 1)
    assert {key.decode() for key in client.scan_iter(f"{prefix}*")} == {prefix, f"{prefix}:events"}


def test_scripts_survive_a_flush_of_the_script_cache(store: RedisJobStore, client: redis.Redis):
    job_id = a_created(store, 2)
    client.script_flush()

    lease = take(store, 1)
    client.script_flush()

    assert store.done(lease, 0) is JobState.PROCESSING
    assert store.get(job_id).counts == Counts(total=2, succeeded=1)


def test_a_restarted_server_is_found_again_by_the_same_store(own_server: ValkeyServer):
    with connect_redis(own_server.url) as client:
        store = RedisJobStore(client)
        job_id = a_created(store, 2)
        lease = take(store)
        own_server.stop()
        own_server.start()

        assert store.done(lease, 0) is JobState.PROCESSING
        assert store.get(job_id).counts == Counts(total=2, succeeded=1)


def test_an_unreachable_server_is_reported_as_unavailable(own_server: ValkeyServer):
    with connect_redis(own_server.url) as client:
        store = RedisJobStore(client)
        job_id = a_created(store, 2)
        lease = take(store)
        own_server.stop()

        for call in (
            store.ping,
            lambda: store.get(job_id),
            lambda: store.images(job_id),
            lambda: store.done(lease, 0),
        ):
            with pytest.raises(JobStoreUnavailable) as caught:
                call()
            assert caught.value.__cause__ is not None


@pytest.mark.timeout(60)
def test_a_refused_connection_is_reported_soon():
    with (
        connect_redis(f"redis://127.0.0.1:{free_ports(1)[0]}/0") as client,
        pytest.raises(JobStoreUnavailable),
    ):
        RedisJobStore(client).ping()


def test_a_replica_that_refuses_writes_is_unavailable(own_server: ValkeyServer):
    with connect_redis(own_server.url) as client:
        client.replicaof("127.0.0.1", str(free_ports(1)[0]))

        with pytest.raises(JobStoreUnavailable):
            RedisJobStore(client).create(a_job())


def test_a_refused_password_is_not_mistaken_for_an_outage(own_server: ValkeyServer):
    with connect_redis(own_server.url) as client:
        client.config_set("requirepass", "secret")
    url = own_server.url.replace("redis://", "redis://:wrong@")

    with connect_redis(url) as stranger, pytest.raises(redis.AuthenticationError):
        RedisJobStore(stranger).ping()


class RepeatingRedis(redis.Redis):
    """A client that sends every script twice and drops the first answer, as if it lost its connection."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        super().evalsha(sha, numkeys, *keys_and_args)
        return super().evalsha(sha, numkeys, *keys_and_args)


@pytest.fixture(params=["client", "cluster", "oldest"])
def any_client(request: pytest.FixtureRequest) -> redis.Redis:
    """A server of each kind; the whole contract is slow on all of them but the first."""
    client: redis.Redis = request.getfixturevalue(request.param)
    return client


@pytest.fixture
def repeating(any_client: redis.Redis) -> RedisJobStore:
    return RedisJobStore(RepeatingRedis(connection_pool=any_client.connection_pool))


def test_a_job_of_repeated_commands_is_the_same_job(repeating: RedisJobStore, any_client: redis.Redis):
    job_id = a_created(repeating, 20, state=JobState.UPLOADING, options=ONE_RANGE)
    assert repeating.start(job_id).state is JobState.QUEUED
    assert repeating.pause(job_id).state is JobState.PAUSED
    assert repeating.resume(job_id).state is JobState.QUEUED
    lease = take(repeating, 20)
    repeating.charge(lease, 0, CORRUPT)
    for index in lease.indices[1:]:
        repeating.measured(lease, index, Range(low=0, high=1))
    Rewind(any_client)(1.1)
    again = take(repeating)
    assert again.indices == (0,)
    assert repeating.measured(again, 0, Range(low=-1, high=2)) is None
    end_all_leases(repeating, failing=frozenset({7}))
    assert repeating.get(job_id).counts == Counts(total=20, succeeded=19, failed=1, measured=20)
    repeating.finish(claim(RedisJobStore(any_client), job_id), JobState.PARTIAL)
    assert repeating.retry(job_id).state is JobState.QUEUED
    assert take(repeating).indices == (7,)
    assert repeating.cancel(job_id).state is JobState.CANCELING
    assert repeating.totals().outcomes == {"succeeded": 19, "image_corrupt": 1}
    repeating.delete(job_id)
    repeating.delete(job_id)


def test_commands_that_begin_and_end_a_job_can_be_repeated_too(
    repeating: RedisJobStore, any_client: redis.Redis
):
    uncounted = a_job(0, state=JobState.UPLOADING, bytes=5)
    repeating.create(uncounted, quota=Quota(images=10, owner_bytes=5))
    assert repeating.start(uncounted.id, total=10).counts == Counts(total=10)
    assert repeating.cancel(uncounted.id).state is JobState.CANCELING
    repeating.finish(claim(RedisJobStore(any_client), uncounted.id), JobState.CANCELED)
    repeating.expire(uncounted.id, before=repeating.now() + 1)
    aborted = a_created(repeating, 0, state=JobState.UPLOADING)
    assert repeating.abort(aborted, CORRUPT).error == CORRUPT
    repeating.finish(claim(RedisJobStore(any_client), aborted), JobState.FAILED)
    restored = a_job(10)
    repeating.restore(restored, succeeded=range(5), failures={5: CORRUPT})
    assert repeating.get(restored.id).counts == Counts(total=10, succeeded=5, failed=1)
    assert not repeating.is_reconciled()
    repeating.mark_reconciled()

    assert repeating.is_reconciled()
    assert [event.state for event in repeating.events(aborted).events] == [
        "uploading",
        "finalizing",
        "failed",
    ]
    StoredJobs(any_client).check()


def test_a_repeated_lease_is_the_lease_made_before(repeating: RedisJobStore):
    a_created(repeating, 20)

    assert [take(repeating, 8).indices for _ in range(3)] == [
        (*range(8),),
        (*range(8, 16),),
        (*range(16, 20),),
    ]
    assert repeating.lease("worker", limit=8) is None


def test_a_repeated_command_has_its_effect_once_whatever_happened_in_between(client: redis.Redis):
    """The first answer was lost, and before the repeat the job has moved on."""
    between: list[Callable[[], object]] = []

    class SlowRedis(redis.Redis):
        def evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
            super().evalsha(sha, numkeys, *args)
            while between:
                between.pop()()
            return super().evalsha(sha, numkeys, *args)

    store = RedisJobStore(client)
    slow = RedisJobStore(SlowRedis(connection_pool=client.connection_pool))
    job_id = a_created(store, 1)
    end_all_leases(store, failing=frozenset({0}))
    finish_as(store, job_id, JobState.FAILED)

    def fail_again() -> None:
        end_all_leases(store, failing=frozenset({0}))
        finish_as(store, job_id, JobState.FAILED)

    client.script_load("return 1")
    slow.get(job_id)
    store.get(job_id)
    between.append(fail_again)

    assert slow.retry(job_id).state is JobState.FAILED
    assert store.get(job_id).counts == Counts(total=1, failed=1)


def test_many_workers_at_once_end_every_image_once(valkey_url: str, client: redis.Redis):
    ids = [a_created(RedisJobStore(client), 300) for _ in range(3)]

    def work(worker: int) -> list[tuple[str, int]]:
        mine: list[tuple[str, int]] = []
        with connect_redis(valkey_url) as own:
            store = RedisJobStore(own)
            while (lease := store.lease(f"worker {worker}", limit=7)) is not None:
                mine += [(lease.job_id, index) for index in lease.indices]
                end_lease(store, lease, failing=frozenset(range(0, 300, 10)))
        return mine

    with ThreadPoolExecutor(8) as pool:
        handed_out = [image for images in pool.map(work, range(8)) for image in images]

    assert sorted(handed_out) == sorted((job_id, index) for job_id in ids for index in range(300))
    store = RedisJobStore(client)
    for job_id in ids:
        assert store.get(job_id).counts == bits(client, job_id) == Counts(total=300, succeeded=270, failed=30)
    assert {claimed(store) for _ in range(4)} == {*ids, None}


def test_a_stray_entry_in_the_sets_is_harmless(store: RedisJobStore, client: redis.Redis):
    client.zadd("{fathom}:turns:urgent", {"gone": -1, "without jobs": -2})
    client.zadd("{fathom}:owner:gone:urgent", {"gone": -1})
    client.zadd("{fathom}:turns:batch", {"anyone": -1})
    client.zadd("{fathom}:owner:anyone:batch", {"gone": -1})
    client.zadd("{fathom}:unwritten", {"gone:1": 1})
    client.zadd("{fathom}:waiting", {"gone": 1})
    client.zadd("{fathom}:expiry", {"gone": 1})
    job_id = a_created(store)

    assert store.pending_chunks(8, at_most=9) == 2
    assert take(store).job_id == job_id
    assert store.reap() == 1
    assert store.reap() == 0
    assert store.unwritten_failures() == ()
    store.pending_chunks(8, at_most=9)
    StoredJobs(client).check()


def test_a_job_in_the_queue_of_another_network_is_put_right(store: RedisJobStore, client: redis.Redis):
    """Workers of a version that knew one network leave it there."""
    large, small = a_created(store, options=Options(model="dpt_large")), a_created(store)
    client.zadd("{fathom}:turns:batch", {"anyone": -1})
    client.zadd("{fathom}:owner:anyone:batch", {large: -1})
    client.delete("{fathom}:turns:batch:dpt_large", "{fathom}:owner:anyone:batch:dpt_large")

    assert take(store).job_id == small
    lease = store.lease("worker", limit=8, models=["dpt_large"])
    assert lease is not None
    assert lease.job_id == large
    store.pending_chunks(8, at_most=9)
    StoredJobs(client).check()


def test_the_clock_of_a_worker_does_not_matter(
    store: RedisJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    now = store.now()
    monkeypatch.setattr(time, "time", lambda: now - 100_000)
    job_id = a_created(store, 2)
    lease = take(store)
    monkeypatch.setattr(time, "time", lambda: now + 100_000)

    assert store.reap() == 0
    assert store.renew(lease, in_hand=0) is JobState.PROCESSING
    end_lease(store, lease)
    finish_as(store, job_id, JobState.SUCCEEDED)

    job = store.get(job_id)
    assert job.started_at == pytest.approx(now, abs=60)
    assert job.ended_at == pytest.approx(now, abs=60)
    assert store.expirable(before=now - 60, limit=100) == ()


#: Calls for a job, by its id and one of its leases.
CALLS: dict[str, Callable[[RedisJobStore, str, Lease], object]] = {
    "give_back": lambda store, id, lease: store.give_back(lease.id),
    "renew": lambda store, id, lease: store.renew(lease, in_hand=0),
    "done": lambda store, id, lease: store.done(lease, 0),
    "charge": lambda store, id, lease: store.charge(lease, 0, CORRUPT),
    "lease": lambda store, id, lease: store._call("lease", lease.id, "worker", 8, 15_000),
    "reap": lambda store, id, lease: store.reap(),
    "claim_finalize": lambda store, id, lease: store.claim_finalize(),
    "unwritten": lambda store, id, lease: store.unwritten_failures(),
    "pending_chunks": lambda store, id, lease: store.pending_chunks(8, at_most=9),
    "list": lambda store, id, lease: store.list(),
    "delete": lambda store, id, lease: store.delete(id),
    "expire": lambda store, id, lease: store.expire(id, before=store.now() + 1),
    "restore": lambda store, id, lease: store.restore(a_job(10, id=id), succeeded=[0]),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_script_fails_for_a_job_without_a_record(store: RedisJobStore, client: redis.Redis, name: str):
    """A server may evict keys or lose data; the remains of a job must be harmless."""
    job_id, other = a_created(store), a_created(store)
    lease = take(store)
    client.zadd("{fathom}:finalize", {lease.job_id: 0})
    client.zadd("{fathom}:expiry", {lease.id: 0})
    client.zadd("{fathom}:unwritten", {f"{lease.job_id}:0": 0})
    client.delete(f"{{fathom}}:job:{lease.job_id}")

    CALLS[name](store, lease.job_id, lease)

    (left,) = {job_id, other} - {lease.job_id}
    assert take(store).job_id == left or name == "restore"


# --- what is left to do -------------------------------------------------------


def test_the_workload_of_very_many_jobs_is_that_of_a_sample(
    store: RedisJobStore, client: redis.Redis
) -> None:
    for _ in range(ACTIVE_AT_ONCE * 2):
        a_created(store, 3)
    ids: list[Any] = client.zrange("{fathom}:active", -1, -1)
    store.cancel(ids[0].decode())

    images = store.workload()[MIDAS_SMALL.name].images

    assert images == 3 * (2 * ACTIVE_AT_ONCE - 1)


def test_the_workload_mends_itself_after_a_worker_of_an_earlier_version(
    store: RedisJobStore, client: redis.Redis
) -> None:
    """Earlier versions keep no set of active jobs: they add none, and leave those that have ended."""
    a_created(store, 10)
    client.delete("{fathom}:active")
    client.zadd("{fathom}:active", {"gone": 0})
    assert store.workload() == {}
    assert client.zcard("{fathom}:active") == 0

    take(store, 4)

    assert store.workload()[MIDAS_SMALL.name].images == 10
