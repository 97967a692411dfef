from __future__ import annotations

import multiprocessing
import operator
import os
import signal
import threading
import time
from functools import partial
from multiprocessing.context import ForkProcess

import pytest

from tests.waiting import DEADLINE, eventually
from worker.supervision.heartbeat import Place, Station, Stations, resident_bytes


def _hold_a_lease(stations: Stations, beats: bool) -> None:
    station = stations.station(3, memory_bytes=0)
    if beats:
        station.start()
    station.take_up("a-lease", lambda: None)
    time.sleep(60)


@pytest.fixture
def stations() -> Stations:
    return Stations()


def start_child(stations: Stations, *, beats: bool) -> ForkProcess:
    child = multiprocessing.get_context("fork").Process(
        target=_hold_a_lease, args=(stations, beats), daemon=True
    )
    child.start()
    eventually(lambda: stations.leases() == ["a-lease"])
    return child


def test_the_parent_sees_the_leases_its_children_hold(stations: Stations):
    assert stations.leases() == []
    station = stations.station(0, memory_bytes=0)

    station.take_up("one", lambda: None)
    stations.station(7, memory_bytes=0).take_up("two", lambda: None)
    assert stations.leases() == ["one", "two"]

    station.lay_down()
    assert stations.leases() == ["two"]


def test_a_child_whose_pulse_stops_is_ended(stations: Stations):
    child = start_child(stations, beats=False)

    assert stations.end_silent(3600) == 0
    eventually(lambda: stations.end_silent(0.2) == 1)
    child.join(DEADLINE)

    assert child.exitcode == -signal.SIGKILL


def test_a_child_that_is_stopped_has_no_pulse(stations: Stations):
    child = start_child(stations, beats=True)
    assert child.pid is not None
    assert stations.end_silent(3600) == 0

    os.kill(child.pid, signal.SIGSTOP)

    eventually(lambda: stations.end_silent(1.0) == 1)
    child.join(DEADLINE)
    assert child.exitcode == -signal.SIGKILL


def test_a_number_that_is_not_a_childs_any_more_is_left_alone(stations: Stations):
    child = start_child(stations, beats=False)
    child.kill()
    child.join(DEADLINE)

    eventually(lambda: stations.end_silent(0.0) == 0)
    # The lease is still known, to be given back.
    assert stations.leases() == ["a-lease"]


def wait_for_a_beat(place: Place) -> None:
    """Wait until the memory has been looked at: each look comes after a beat, and before the next one."""
    for _ in range(2):
        eventually(lambda: place.beat, partial(operator.ne, place.beat))


def test_memory_beyond_the_bound_is_told_while_a_lease_is_held():
    excess, place = threading.Event(), Place()
    station = Station(place, memory_bytes=resident_bytes() + 64 * 2**20)
    station.start()
    station.take_up("a-lease", excess.set)
    wait_for_a_beat(place)
    assert not excess.is_set()

    hoard = bytearray(os.urandom(1)) * (200 * 2**20)

    assert excess.wait(DEADLINE)
    station.lay_down()
    del hoard


@pytest.mark.parametrize("memory_bytes", [0, 2**50])
def test_without_a_bound_or_within_it_nothing_is_told(memory_bytes: int):
    excess, place = threading.Event(), Place()
    station = Station(place, memory_bytes=memory_bytes)
    station.start()
    station.take_up("a-lease", excess.set)
    wait_for_a_beat(place)

    assert not excess.is_set()
    station.lay_down()
