from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from shared.errors import ObjectStoreUnavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Claim, Idempotency, Standing
from shared.idempotency.redis_store import KEEP, entry_name
from shared.jobs import object_keys
from tests.contracts.idempotency import Advance, DurableIdempotencyContract
from tests.fakes import FakeClock, FakeIdempotency, FakeObjectStore

RECORD = object_keys.idempotency_record(entry_name("me", "k"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def objects() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def redis(clock: FakeClock) -> FakeIdempotency:
    return FakeIdempotency(clock)


@pytest.fixture
def keys(redis: FakeIdempotency, objects: FakeObjectStore, clock: FakeClock) -> Idempotency:
    return DurableIdempotency(redis, objects, clock=clock)


@pytest.fixture
def advance(clock: FakeClock) -> Advance:
    return clock.advance


@pytest.fixture
def lose(redis: FakeIdempotency) -> Callable[[], None]:
    return redis.entries.clear


class TestDurableIdempotency(DurableIdempotencyContract):
    """The contract, on fakes."""


def submit(keys: Idempotency, token: str = "t", *, job_id: str = "j") -> None:
    assert keys.claim("me", "k", token).standing is not Standing.RUNNING
    assert keys.seal("me", "k", token, fingerprint="f", job_id=job_id)
    assert keys.finish("me", "k", token)


def test_a_day_later_nothing_is_remembered(
    keys: Idempotency, lose: Callable[[], None], clock: FakeClock
) -> None:
    submit(keys)
    lose()
    clock.advance(KEEP + 1)

    assert keys.claim("me", "k", "other") == Claim(standing=Standing.NEW)


def test_a_key_that_is_used_anew_remembers_the_latest(keys: Idempotency, lose: Callable[[], None]) -> None:
    submit(keys)
    lose()
    submit(keys, "other", job_id="second")
    lose()

    assert keys.claim("me", "k", "third").job_id == "second"


def test_who_lost_the_key_overwrites_nothing(keys: Idempotency, clock: FakeClock) -> None:
    keys.claim("me", "k", "slow")
    clock.advance(91)
    submit(keys, "other", job_id="right")

    assert not keys.seal("me", "k", "slow", fingerprint="f", job_id="wrong")
    assert keys.claim("me", "k", "third").job_id == "right"


def test_what_lost_the_key_is_not_remembered(
    keys: Idempotency, objects: FakeObjectStore, clock: FakeClock
) -> None:
    keys.claim("me", "k", "slow")
    clock.advance(91)
    keys.claim("me", "k", "other")
    keys.seal("me", "k", "slow", fingerprint="f", job_id="wrong")

    assert objects.objects == {}


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"null", b'{"sealed_at": "x"}', b'{"sealed_at": 1e12}']
)
def test_a_damaged_record_is_as_good_as_none(
    keys: Idempotency, objects: FakeObjectStore, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    objects.put(RECORD, damaged)
    with caplog.at_level(logging.ERROR):
        claim = keys.claim("me", "k", "t")

    assert claim == Claim(standing=Standing.NEW)
    assert "damaged" in caplog.text


def test_a_key_is_not_handed_out_while_nobody_can_say_what_came_under_it(
    keys: Idempotency, objects: FakeObjectStore
) -> None:
    objects.away = True

    with pytest.raises(ObjectStoreUnavailable):
        keys.claim("me", "k", "t")


def test_neither_owner_nor_key_can_be_read_off_the_record(
    keys: Idempotency, objects: FakeObjectStore
) -> None:
    keys.claim("somebody", "secret-order-17", "t")
    keys.seal("somebody", "secret-order-17", "t", fingerprint="f", job_id="j")
    ((where, data),) = objects.objects.items()

    assert where.startswith(object_keys.IDEMPOTENCY)
    assert set(json.loads(data)) == {"fingerprint", "job_id", "sealed_at"}
    for word in ("somebody", "secret-order-17"):
        assert word not in where
        assert word.encode() not in data
