from __future__ import annotations

import pytest

from shared.idempotency.port import Idempotency
from tests.contracts.idempotency import Advance, IdempotencyContract
from tests.fakes import FakeClock, FakeIdempotency


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(clock: FakeClock) -> Idempotency:
    return FakeIdempotency(clock)


@pytest.fixture
def advance(clock: FakeClock) -> Advance:
    return clock.advance


class TestFakeIdempotency(IdempotencyContract):
    """The fake fulfils the contract, so unit tests may rely on it."""
