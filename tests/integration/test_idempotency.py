"""Idempotency keys on a real Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from fathom.stack.servers import HOST, free_ports
from shared.errors import JobStoreUnavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Idempotency, Standing
from shared.idempotency.redis_store import RedisIdempotency
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.contracts.idempotency import Advance, DurableIdempotencyContract, IdempotencyContract


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def keys(client: redis.Redis) -> Idempotency:
    return RedisIdempotency(client)


@pytest.fixture
def advance(client: redis.Redis) -> Advance:
    """The server's clock cannot be set, so every stored time is moved into the past instead."""

    def move(seconds: float) -> None:
        ms = round(seconds * 1000)
        for entry in client.scan_iter("{fathom}:idempotency:*"):
            client.hincrby(entry, "until", -ms)
            client.pexpire(entry, client.pttl(entry) - ms)

    return move


class TestRedisIdempotency(IdempotencyContract):
    """The contract on a real server."""


class TestDurableIdempotencyOnServers(DurableIdempotencyContract):
    """The contract of keys that survive a loss of Redis, on a real Valkey and a real S3 server."""

    @pytest.fixture
    def durable(self, keys: Idempotency, object_store: S3ObjectStore) -> DurableIdempotency:
        # The object store's clock cannot be set either, so this clock advances together with Redis'.
        self.ahead = 0.0
        return DurableIdempotency(keys, object_store, clock=lambda: time.time() + self.ahead)

    @pytest.fixture
    def advance(self, advance: Advance) -> Advance:
        def move(seconds: float) -> None:
            self.ahead += seconds
            advance(seconds)

        return move

    @pytest.fixture
    def lose(self, client: redis.Redis) -> Callable[[], object]:
        return client.flushdb


def test_one_of_many_simultaneous_claims_gets_the_key(keys: Idempotency) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: keys.claim("me", "k", f"t{n}"), range(50)))

    assert [claim.standing for claim in claims].count(Standing.NEW) == 1
    assert [claim.standing for claim in claims].count(Standing.RUNNING) == 49


def test_an_entry_expires(keys: Idempotency, client: redis.Redis) -> None:
    keys.claim("me", "k", "t")
    (entry,) = client.scan_iter("{fathom}:*")

    assert 0 < client.pttl(entry) <= 90_000
    keys.seal("me", "k", "t", fingerprint="f", job_id="j")
    assert 86_000_000 < client.pttl(entry) <= 86_400_000


def test_an_unavailable_server_is_reported() -> None:
    with connect_redis(f"redis://{HOST}:{free_ports(1)[0]}/0") as nowhere, pytest.raises(JobStoreUnavailable):
        RedisIdempotency(nowhere).claim("me", "k", "t")
