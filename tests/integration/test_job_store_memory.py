"""What the job store costs its server, and what it does when the memory of the server is full."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import redis

from fathom.stack.servers import ServerMissing, ValkeyServer
from shared.errors import JobStoreFull
from shared.jobs.job import Counts, ImageFailure, ImageState, ImageStatus, JobState, Page, Phase, Quota, Range
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis
from tests.conftest import start_or_skip
from tests.contracts.job_store import (
    CORRUPT,
    ONE_RANGE,
    SLOW,
    a_created,
    a_job,
    end_all_leases,
    end_lease,
    take,
)
from tests.servers import OldestRedis, SharedValkey
from tests.store_invariants import StoredJobs
from tests.waiting import eventually


@pytest.fixture(scope="module")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server for this module only, so that no other test changes its counters."""
    server = start_or_skip(SharedValkey(tmp_path_factory.mktemp("counted")))
    yield server
    server.stop()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> RedisJobStore:
    return RedisJobStore(client)


def memory_of(client: redis.Redis, job_id: str) -> int:
    """Return the bytes of all keys of a job, measured over every value of a hash or a stream."""
    keys = list(client.scan_iter(f"{{fathom}}:job:{job_id}*"))
    return sum(client.memory_usage(key, samples=0) or 0 for key in keys)


@pytest.mark.parametrize("total", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_very_many_images_cost_little_however_they_end(store: RedisJobStore, client: redis.Redis, total: int):
    """100,000 images take 30 KB when they are accepted. If nearly all fail, one in ten for a reason of its
    own, they take less than 5 MB at the end."""
    job = a_job(total)
    store.create(job)
    assert memory_of(client, job.id) < 6_000 + 0.26 * total
    different = total // 10
    reasons = [
        ImageFailure(code="image_corrupt", message=f"{CORRUPT.message} ({n})") for n in range(different)
    ]
    end_lease(store, take(store, 100))

    store.restore(job, failures={index: reasons[index % different] for index in range(100, total - 200)})
    for _ in range(2):
        lease = take(store, 100)
        for index in lease.indices:
            store.done(lease, index, failure=CORRUPT)

    assert store.get(job.id).counts == Counts(total=total, succeeded=100, failed=total - 100)
    assert store.images(job.id, cursor=total - 200, limit=1).items[0].failure == CORRUPT
    assert store.images(job.id, cursor=total // 2 + 321, limit=1).items[0].failure == reasons[321]
    assert memory_of(client, job.id) < 50 * total


class CommandCounter:
    """Counts the commands of a call, including those in scripts, and the bytes of its responses."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, call: Callable[[], object]) -> tuple[int, int]:
        call()  # Load the scripts, and open the connections.
        self._client.config_resetstat()
        call()
        answered = self._client.info("stats")["total_net_output_bytes"]
        commands = self._client.info("commandstats")
        own = ("cmdstat_info", "cmdstat_config|resetstat")
        return sum(row["calls"] for name, row in commands.items() if name not in own), answered


@pytest.fixture
def counted(client: redis.Redis) -> CommandCounter:
    return CommandCounter(client)


def test_a_poll_costs_the_same_for_ten_images_and_for_a_hundred_thousand(
    store: RedisJobStore, counted: CommandCounter
):
    costs = []
    for total in (10, 100_000):
        job = a_job(total)
        store.restore(job, succeeded=range(total - 3), failures={total - 2: CORRUPT})
        take(store, 1)
        costs.append(counted(partial(store.get, job.id)))

    (few_commands, few_bytes), (many_commands, many_bytes) = costs
    assert few_commands == many_commands <= 8
    # Its numbers have more digits.
    assert abs(many_bytes - few_bytes) < 40


def test_a_late_page_of_a_huge_job_costs_no_more_than_a_first(
    store: RedisJobStore, client: redis.Redis, counted: CommandCounter
):
    job_id = a_created(store, 100_000)
    client.setbit(f"{{fathom}}:job:{job_id}:bad", 99_998, 1)
    pages: list[Page[ImageStatus]] = []
    late, _ = counted(lambda: pages.append(store.images(job_id, state=ImageState.FAILED)))
    client.setbit(f"{{fathom}}:job:{job_id}:bad", 0, 1)
    first, _ = counted(lambda: store.images(job_id, state=ImageState.FAILED, limit=1))

    assert [image.index for image in pages[-1].items] == [99_998]
    assert late <= first + 1


def test_a_lease_skips_a_long_run_of_ended_images_at_once(
    store: RedisJobStore, client: redis.Redis, counted: CommandCounter
):
    a_created(store, 10)
    first, _ = counted(lambda: take(store, 1))
    end_all_leases(store)
    job_id = a_created(store, 100_000)
    key = f"{{fathom}}:job:{job_id}"
    client.set(f"{key}:ok", b"\xff" * 12_499 + b"\xf0")
    client.hset(key, "ok", 99_996)
    taken: list[int] = []
    late, _ = counted(lambda: taken.extend(take(store, 1).indices))

    assert taken == [99_996, 99_997]
    assert late <= first


def test_a_lease_costs_the_same_however_many_jobs_owners_and_images_there_are(
    store: RedisJobStore, counted: CommandCounter
):
    for owner in ("me", "you"):
        a_created(store, 1000, owner=owner)
    # Each time the first lease of a job.
    alone, _ = counted(lambda: take(store))
    for number in range(200):
        a_created(store, 100_000, owner=f"owner-{number % 50}")

    among_many, _ = counted(lambda: take(store))

    assert among_many == alone


def test_the_cost_of_a_list_depends_on_its_page_only(store: RedisJobStore, counted: CommandCounter):
    for _ in range(5):
        a_created(store, owner="me")
    few, _ = counted(lambda: store.list(owner="me", limit=3))
    for number in range(200):
        a_created(store, owner="me" if number % 2 else "you")

    many, _ = counted(lambda: store.list(owner="me", limit=3))

    assert many == few


@pytest.fixture(params=[ValkeyServer, OldestRedis], ids=["valkey", "redis-6.2"])
def small_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[redis.Redis]:
    """A server with 6 MB of memory left, and not one byte more."""
    try:
        server = request.param(tmp_path).start()
    except ServerMissing as exc:
        pytest.skip(exc.message)
    with connect_redis(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 6_000_000)
        yield client
    server.stop()


def fill(client: redis.Redis) -> None:
    """Fill the memory with something else, to the last byte."""
    number = refused = 0
    while refused < 30:
        number += 1
        try:
            client.set(f"other:{number}", b"x" * (10_000 >> refused))
        except redis.OutOfMemoryError:
            refused += 1


def end_all_images(store: RedisJobStore) -> None:
    """End every image of all jobs; image 3 of each job fails."""
    while store.pending_chunks(8, at_most=1):
        lease = take(store)
        for index in lease.indices:
            if lease.phase is Phase.MEASURE:
                store.measured(lease, index, Range(low=0, high=1))
            else:
                store.done(lease, index, failure=CORRUPT if index == 3 else None)
        time.sleep(0.005)


def use_maintenance_commands(store: RedisJobStore) -> None:
    """Call the commands with which workers register and maintain the store."""
    store.register_worker("worker", 1)
    assert store.acquire("maintenance", "worker", 5)
    assert not store.is_reconciled()
    store.mark_reconciled()
    assert store.is_reconciled()


def test_a_full_server_refuses_new_jobs_and_finishes_those_it_has(small_server: redis.Redis):
    store = RedisJobStore(small_server, retry_delays=(0.01,))
    running, waiting = a_created(store, 100), a_created(store, 0, state=JobState.UPLOADING)
    other, passes = a_created(store, 100, owner="other"), a_created(store, 20, options=ONE_RANGE)
    small_server.script_flush()
    fill(small_server)

    for call in (lambda: store.create(a_job()), lambda: store.admit("anyone", 1, quota=Quota())):
        with pytest.raises(JobStoreFull):
            call()
    assert len(store.list().items) == 4

    use_maintenance_commands(store)
    store.start(waiting, total=50)
    store.cancel(other)
    lease = take(store, 4)
    assert store.renew(lease, in_hand=0) is JobState.PROCESSING
    assert store.charge(lease, lease.indices[0], SLOW) is JobState.PROCESSING
    store.give_back(lease.id)
    end_all_images(store)
    assert [image.index for image in store.failures(running)] == [3]
    assert store.images(waiting, state=ImageState.SUCCEEDED, limit=3).next_cursor == "4"
    assert store.events(running).events[-1].state == "finalizing"
    while claim := store.claim_finalize():
        store.finish(claim, JobState.CANCELED if claim.job_id == other else JobState.PARTIAL)

    assert {job.id: job.counts for job in store.list().items} == {
        running: Counts(total=100, succeeded=99, failed=1),
        waiting: Counts(total=50, succeeded=49, failed=1),
        passes: Counts(total=20, succeeded=19, failed=1, measured=20),
        other: Counts(total=100),
    }
    assert store.retry(running).state is JobState.QUEUED
    store.pause(running)
    store.expire(running, before=store.now() + 1)
    store.restore(a_job(10), succeeded=range(5))
    StoredJobs(small_server).check()
    with pytest.raises(JobStoreFull):
        store.create(a_job())


def test_a_store_that_was_full_takes_jobs_again_when_some_are_deleted(small_server: redis.Redis):
    store = RedisJobStore(small_server)
    ids: list[str] = []
    with suppress(JobStoreFull):
        while len(ids) < 1000:
            ids.append(a_created(store, 100_000))
    memory = small_server.info("memory")
    # There is room for everything that these jobs will need.
    assert 20 < len(ids) < 1000
    assert 0.88 < memory["used_memory"] / memory["maxmemory"] < 0.93
    assert small_server.set("a ticket", b"x" * 1000)

    for job_id in ids[:20]:
        store.delete(job_id)

    def accepts() -> bool:
        try:
            store.admit("anyone", 1, quota=Quota())
        except JobStoreFull:
            return False
        return True

    # The server frees deleted keys in the background.
    eventually(accepts)
    a_created(store, 100_000)


def test_the_share_of_memory_for_new_jobs_may_be_chosen(small_server: redis.Redis):
    memory = small_server.info("memory")
    present = memory["used_memory"] / memory["maxmemory"]

    with pytest.raises(JobStoreFull):
        RedisJobStore(small_server, full_above=present / 2).create(a_job())
    RedisJobStore(small_server, full_above=present * 2).create(a_job())


def test_a_server_without_a_limit_is_never_full(client: redis.Redis, store: RedisJobStore):
    assert client.info("memory")["maxmemory"] == 0

    store.admit("anyone", 1, quota=Quota())
