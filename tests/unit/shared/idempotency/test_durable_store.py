from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from shared.errors import ObjectStoreUnavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import KEEP, Claim, Standing, entry_name
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
def keys(clock: FakeClock) -> FakeIdempotency:
    return FakeIdempotency(clock)


@pytest.fixture
def durable(keys: FakeIdempotency, objects: FakeObjectStore, clock: FakeClock) -> DurableIdempotency:
    return DurableIdempotency(keys, objects, clock=clock)


@pytest.fixture
def advance(clock: FakeClock) -> Advance:
    return clock.advance


@pytest.fixture
def lose(keys: FakeIdempotency) -> Callable[[], None]:
    return keys.entries.clear


class TestDurableIdempotency(DurableIdempotencyContract):
    """The contract, on fakes."""


def submit(durable: DurableIdempotency, token: str = "t", *, job_id: str = "j") -> None:
    assert durable.claim("me", "k", token).standing is not Standing.RUNNING
    assert durable.seal("me", "k", token, fingerprint="f", job_id=job_id)
    assert durable.keys.finish("me", "k", token)


def test_a_record_is_forgotten_after_a_day(
    durable: DurableIdempotency, lose: Callable[[], None], clock: FakeClock
) -> None:
    submit(durable)
    lose()
    clock.advance(KEEP + 1)

    assert durable.claim("me", "k", "other") == Claim(standing=Standing.NEW)


def test_a_reused_key_returns_the_latest_record(
    durable: DurableIdempotency, lose: Callable[[], None]
) -> None:
    submit(durable)
    lose()
    submit(durable, "other", job_id="second")
    lose()

    assert durable.claim("me", "k", "third").job_id == "second"


def test_a_submission_that_lost_its_claim_overwrites_nothing(
    durable: DurableIdempotency, clock: FakeClock
) -> None:
    durable.claim("me", "k", "slow")
    clock.advance(91)
    submit(durable, "other", job_id="right")

    assert not durable.seal("me", "k", "slow", fingerprint="f", job_id="wrong")
    assert durable.claim("me", "k", "third").job_id == "right"


def test_a_submission_that_lost_its_claim_is_not_recorded(
    durable: DurableIdempotency, objects: FakeObjectStore, clock: FakeClock
) -> None:
    durable.claim("me", "k", "slow")
    clock.advance(91)
    durable.claim("me", "k", "other")
    durable.seal("me", "k", "slow", fingerprint="f", job_id="wrong")

    assert objects.objects == {}


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"null", b'{"sealed_at": "x"}', b'{"sealed_at": 1e12}']
)
def test_a_damaged_record_counts_as_none(
    durable: DurableIdempotency, objects: FakeObjectStore, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    objects.put(RECORD, damaged)
    with caplog.at_level(logging.ERROR):
        claim = durable.claim("me", "k", "t")

    assert claim == Claim(standing=Standing.NEW)
    assert "damaged" in caplog.text


def test_no_key_is_claimed_while_its_record_cannot_be_read(
    durable: DurableIdempotency, objects: FakeObjectStore
) -> None:
    objects.away = True

    with pytest.raises(ObjectStoreUnavailable):
        durable.claim("me", "k", "t")


def test_a_record_reveals_neither_owner_nor_key(
    durable: DurableIdempotency, objects: FakeObjectStore
) -> None:
    durable.claim("somebody", "secret-order-17", "t")
    durable.seal("somebody", "secret-order-17", "t", fingerprint="f", job_id="j")
    ((where, data),) = objects.objects.items()

    assert where.startswith(object_keys.IDEMPOTENCY)
    assert set(json.loads(data)) == {"fingerprint", "job_id", "sealed_at"}
    for word in ("somebody", "secret-order-17"):
        assert word not in where
        assert word.encode() not in data
