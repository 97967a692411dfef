from __future__ import annotations

import pytest

from shared.chores.port import Chores
from tests.contracts.chores import Advance, ChoresContract
from tests.fakes import FakeClock
from tests.fakes_chores import FakeChores


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def chores(clock: FakeClock) -> Chores:
    return FakeChores(clock)


@pytest.fixture
def advance(clock: FakeClock) -> Advance:
    return clock.advance


class TestFakeChores(ChoresContract):
    """The fake fulfils the contract, so unit tests may rely on it."""
