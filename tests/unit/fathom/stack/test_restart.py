from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fathom.stack.restart import FIRST_PAUSE, LONGEST_PAUSE, RECOVERED, Supervisor
from shared.errors import FathomError


@dataclass
class FakePart:
    """A part that the test starts and kills."""

    name: str = "worker-1"
    log_path: Path = Path("worker-1.log")
    pid: int = 1
    stop_grace: float = 1.0
    alive: bool = True
    #: Errors of the next starts.
    errors: list[FathomError] = field(default_factory=list)
    starts: int = 0

    def is_running(self) -> bool:
        return self.alive

    def start(self) -> None:
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)
        self.alive = True

    def stop(self) -> None:
        self.alive = False


@dataclass
class RestartClock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def part() -> FakePart:
    return FakePart()


@pytest.fixture
def clock() -> RestartClock:
    return RestartClock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(part: FakePart, clock: RestartClock, said: list[str]) -> Supervisor:
    return Supervisor([part], say=said.append, clock=clock)


def test_a_running_part_is_not_restarted(supervisor: Supervisor, part: FakePart) -> None:
    assert supervisor.check() is False
    assert part.starts == 0


def test_a_dead_part_is_restarted_after_a_pause(
    supervisor: Supervisor, part: FakePart, clock: RestartClock, said: list[str]
) -> None:
    part.alive = False

    assert supervisor.check() is False
    clock.now += FIRST_PAUSE
    assert supervisor.check() is True

    assert part.starts == 1
    assert len(said) == 1
    assert "worker-1 has ended unexpectedly" in said[0]


def test_a_part_that_keeps_dying_is_restarted_less_and_less_often(
    supervisor: Supervisor, part: FakePart, clock: RestartClock
) -> None:
    deaths = 12
    pauses = []
    for _ in range(deaths):
        part.alive = False
        supervisor.check()
        died = clock.now
        while not supervisor.check():
            clock.now += 0.1
        pauses.append(clock.now - died)

    assert pauses[:3] == pytest.approx([0.5, 1.0, 2.0], abs=0.15)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.15)


def test_a_part_that_ran_for_long_is_restarted_soon(
    supervisor: Supervisor, part: FakePart, clock: RestartClock
) -> None:
    for lifetime in (0.0, 0.0, RECOVERED):
        clock.now += lifetime
        part.alive = False
        supervisor.check()
        died = clock.now
        while not supervisor.check():
            clock.now += 0.1

    assert clock.now - died == pytest.approx(FIRST_PAUSE, abs=0.15)


def test_a_failed_start_is_logged_and_repeated(
    supervisor: Supervisor, part: FakePart, clock: RestartClock, said: list[str]
) -> None:
    part.alive = False
    part.errors = [FathomError("The port is taken.")]

    for _ in range(60):
        supervisor.check()
        clock.now += 0.1

    assert part.alive
    assert part.starts == 2
    assert any("The port is taken" in line for line in said)
