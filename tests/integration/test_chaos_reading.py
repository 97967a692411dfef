"""What the checker of `bench.chaos` reads from real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from bench.bare_s3 import BareS3
from bench.chaos import final_state
from bench.chaos.observer import Observer
from bench.chaos.photos import Submitted
from bench.resp import Resp, RespError
from fathom.options import Options
from fathom.stack.servers import SeaweedServer, ValkeyServer
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure, JobState, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.finalizing import finish_as
from tests.waiting import eventually

TOTAL = 20


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[Resp]:
    with Resp(valkey_url) as client:
        yield client


@pytest.fixture
def jobs(valkey_url: str) -> Iterator[RedisJobStore]:
    with connect_redis(valkey_url) as client:
        yield RedisJobStore(client)


@pytest.fixture
def s3(s3_environ: dict[str, str]) -> Iterator[BareS3]:
    with BareS3(s3_environ["FATHOM_S3_ENDPOINT_URL"], BUCKET, ACCESS_KEY, SECRET_KEY) as client:
        yield client


@pytest.fixture
def job(jobs: RedisJobStore) -> Submitted:
    job_id = new_job_id()
    jobs.create(
        new_job(job_id, total=TOTAL, options=Options(), state=JobState.QUEUED, created_at=time.time())
    )
    return Submitted(id=job_id, photos=("0" * 64,) * TOTAL)


def test_responses_of_every_type_are_read(valkey: Resp) -> None:
    assert valkey.call("SET", "k", b"\r\n\x00value") == b"OK"
    assert valkey.call("GET", "k") == b"\r\n\x00value"
    assert valkey.call("GET", "none") is None
    assert valkey.call("RPUSH", "l", 1, 2) == 2
    assert valkey.pipeline([("LRANGE", "l", 0, -1), ("LLEN", "l")]) == [[b"1", b"2"], 2]
    with pytest.raises(RespError, match="wrong kind"):
        valkey.call("GET", "l")
    assert valkey.call("PING") == b"PONG"


def test_the_client_sends_the_password(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        ValkeyServer(tmp_path_factory.mktemp("locked"), password="se-cret") as server,
        Resp(server.url) as client,
    ):
        assert client.call("PING") == b"PONG"


def test_objects_are_listed_and_read_over_several_pages(s3: BareS3, object_store: S3ObjectStore) -> None:
    keys = [*(f"jobs/x/outputs/{number}/depth.json" for number in range(5)), "jobs/x/é ü+&=.txt"]
    for key in (*keys, "jobs/y"):
        object_store.put(key, b"12345")

    assert dict(s3.list("jobs/x/", page_size=2)) == dict.fromkeys(keys, 5)
    assert s3.get("jobs/x/é ü+&=.txt") == b"12345"
    assert s3.get("jobs/x") is None


def test_a_job_is_read_as_the_stores_wrote_it(
    valkey: Resp, s3: BareS3, jobs: RedisJobStore, job: Submitted, object_store: S3ObjectStore
) -> None:
    lease = jobs.lease("worker", limit=5)
    assert lease is not None
    jobs.done(lease, 0)
    jobs.done(lease, 3, failure=ImageFailure(code="x", message="X."))
    object_store.put(object_keys.output(job.id, 0, "heatmap.png"), b"data")
    object_store.put(object_keys.output(job.id, 0, "depth.json"), b'{"source": {"sha256": "abc"}}')
    object_store.put(object_keys.result(job.id), b'{"id": "y"}')
    found = final_state.read_job(valkey, s3, job)

    assert (found.state, found.succeeded, found.failed, found.bitcounts) == ("processing", 1, 1, (1, 1))
    assert (found.succeeded_bits, found.failed_bits) == (frozenset({0}), frozenset({3}))
    assert found.outputs == {0: {"heatmap.png", "depth.json"}}
    assert found.sources == {0: "abc"}
    assert found.result == {"id": "y"}


def test_held_images_and_leases_count_as_unfinished_until_the_job_ends(
    valkey: Resp, jobs: RedisJobStore, job: Submitted
) -> None:
    lease = jobs.lease("worker", limit=TOTAL)
    assert lease is not None
    held = final_state.count_unfinished(valkey, [job])
    for index in range(TOTAL):
        jobs.done(lease, index)
    waiting = final_state.count_unfinished(valkey, [job])
    finish_as(jobs, job.id, JobState.SUCCEEDED)

    assert (held["lease keys"], held["expiry"], held["images held"]) == (2, 1, TOTAL)
    assert (waiting["lease keys"], waiting["images held"], waiting["finalize"]) == (0, 0, 1)
    assert not any(final_state.count_unfinished(valkey, [job]).values())


def test_a_deleted_job_leaves_no_key_and_no_byte(valkey: Resp, jobs: RedisJobStore, job: Submitted) -> None:
    assert final_state.keys_of(valkey, [job])
    before = final_state.key_bytes(valkey, f"*{job.id}*")
    jobs.delete(job.id)

    assert sum(before.values()) > 500
    assert final_state.keys_of(valkey, [job]) == ()
    assert final_state.key_bytes(valkey, f"*{job.id}*") == {}


def test_every_outcome_is_observed_once(
    valkey_url: str, jobs: RedisJobStore, job: Submitted, valkey: Resp
) -> None:
    observer = Observer()
    with observer.monitoring(valkey_url):
        lease = jobs.lease("worker", limit=3)
        assert lease is not None
        began = time.monotonic()
        for index in (0, 1, 1, 0):
            jobs.done(lease, index)
        jobs.done(lease, 2, failure=ImageFailure(code="x", message="X."))
        eventually(lambda: observer.recorded, lambda recorded: len(recorded) >= 3)

    assert [(record.image, record.outcome) for record in observer.recorded] == [
        ((job.id, 0), "ok"),
        ((job.id, 1), "ok"),
        ((job.id, 2), "bad"),
    ]
    assert all(began - 1 < record.at < time.monotonic() + 1 for record in observer.recorded)


def test_unacknowledged_tickets_are_expired(
    valkey: Resp, valkey_url: str, seaweed_server: SeaweedServer
) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.zadd("unacked_index", {"tag": time.time()})

    assert final_state.expire_tickets(valkey) == 1
    assert valkey.call("ZSCORE", "unacked_index", "tag") == b"0"
