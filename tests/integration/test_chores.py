"""Chores on a real Valkey: the contract, and what only a real server can get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from shared.chores.port import ChoreKind, ChoreState
from shared.chores.redis_store import RedisChores
from shared.errors import JobStoreUnavailable
from shared.redis.client import connect_redis
from tests.contracts.chores import JOB, Advance, ChoresContract
from tests.rewind import RewindChores


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def chores(client: redis.Redis) -> RedisChores:
    return RedisChores(client)


@pytest.fixture
def advance(client: redis.Redis) -> Advance:
    return RewindChores(client)


class TestRedisChores(ChoresContract):
    """The real store fulfils the contract."""


def test_many_workers_never_hold_the_same_chore(chores: RedisChores) -> None:
    for number in range(200):
        chores.add(str(number), ChoreKind.EXPAND, JOB)

    def work(_: int) -> list[str]:
        done = []
        while (chore := chores.claim((ChoreKind.EXPAND,), seconds=30)) is not None:
            done.append(chore.id)
            assert chores.finish(chore)
        return done

    with ThreadPoolExecutor(8) as workers:
        done = [name for names in workers.map(work, range(8)) for name in names]
    assert sorted(done, key=int) == [str(number) for number in range(200)]


def test_keys_of_chores_expire_and_are_deleted_with_their_job(
    chores: RedisChores, client: redis.Redis
) -> None:
    chores.add("c", ChoreKind.EXPAND, JOB)
    chore = chores.claim((ChoreKind.EXPAND,), seconds=30)
    assert chore is not None
    chores.finish(chore)

    keys = [key for key in client.scan_iter("{fathom}:chore*")]
    assert keys
    assert all(client.pttl(key) > 0 for key in keys)
    chores.forget(JOB)
    assert list(client.scan_iter("{fathom}:chore*")) == []


def test_a_chore_without_a_record_is_skipped(chores: RedisChores, client: redis.Redis) -> None:
    for name in ("a", "b"):
        chores.add(name, ChoreKind.EXPAND, JOB)
    client.delete("{fathom}:chore:a")

    assert [chore.id for chore in chores.list(JOB)] == ["b"]
    claimed = [chores.claim((ChoreKind.EXPAND,), seconds=30) for _ in range(2)]
    assert [chore.id for chore in claimed if chore] == ["b"]
    assert chores.get("b") is not None
    assert chores.list(JOB)[0].state is ChoreState.OPEN


def test_an_unavailable_server_is_reported(client: redis.Redis) -> None:
    with connect_redis("redis://127.0.0.1:1/0") as nowhere, pytest.raises(JobStoreUnavailable):
        RedisChores(nowhere).wake("c")
