from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fathom.stack.stack import StackPlan, Stopped, StopSignal


@pytest.fixture
def stop_signal() -> Iterator[StopSignal]:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    stop = StopSignal()
    stop.listen()
    yield stop
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_next_pause(stop_signal: StopSignal, signum: signal.Signals) -> None:
    stop_signal.pause()

    os.kill(os.getpid(), signum)

    assert (stop_signal.asked, stop_signal.hurry) == (True, False)
    with pytest.raises(Stopped):
        stop_signal.pause()


def test_a_second_signal_shortens_the_stop(stop_signal: StopSignal) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    assert stop_signal.hurry


def test_the_slots_of_a_plan_are_the_children_of_all_workers() -> None:
    assert StackPlan(data_dir=Path("x"), workers=3, concurrency=2).slots == 6
