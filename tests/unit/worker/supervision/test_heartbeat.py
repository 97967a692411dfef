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
from worker.supervision.heartbeat import Heartbeat, HeartbeatSlot, HeartbeatSlots, resident_bytes


def _hold_a_lease(slots: HeartbeatSlots, beats: bool) -> None:
    heartbeat = slots.heartbeat(3, memory_bytes=0)
    if beats:
        heartbeat.start()
    heartbeat.hold_lease("a-lease", lambda: None)
    time.sleep(60)


@pytest.fixture
def slots() -> HeartbeatSlots:
    return HeartbeatSlots()


def start_child(slots: HeartbeatSlots, *, beats: bool) -> ForkProcess:
    child = multiprocessing.get_context("fork").Process(
        target=_hold_a_lease, args=(slots, beats), daemon=True
    )
    child.start()
    eventually(lambda: slots.leases() == ["a-lease"])
    return child


def test_the_parent_sees_the_leases_its_children_hold(slots: HeartbeatSlots):
    assert slots.leases() == []
    heartbeat = slots.heartbeat(0, memory_bytes=0)

    heartbeat.hold_lease("one", lambda: None)
    slots.heartbeat(7, memory_bytes=0).hold_lease("two", lambda: None)
    assert slots.leases() == ["one", "two"]

    heartbeat.hold_lease("next", lambda: None)
    assert slots.leases() == ["one", "next", "two"]

    heartbeat.release_lease("one")
    assert (heartbeat.leases, slots.leases()) == (["next"], ["next", "two"])


def test_a_child_whose_heartbeat_stops_is_killed(slots: HeartbeatSlots):
    child = start_child(slots, beats=False)

    assert slots.kill_silent(3600) == 0
    eventually(lambda: slots.kill_silent(0.2) == 1)
    child.join(DEADLINE)

    assert child.exitcode == -signal.SIGKILL


def test_a_child_that_is_stopped_has_no_heartbeat(slots: HeartbeatSlots):
    child = start_child(slots, beats=True)
    assert child.pid is not None
    assert slots.kill_silent(3600) == 0

    os.kill(child.pid, signal.SIGSTOP)

    eventually(lambda: slots.kill_silent(1.0) == 1)
    child.join(DEADLINE)
    assert child.exitcode == -signal.SIGKILL


def test_a_pid_that_no_longer_belongs_to_a_child_is_ignored(slots: HeartbeatSlots):
    child = start_child(slots, beats=False)
    child.kill()
    child.join(DEADLINE)

    eventually(lambda: slots.kill_silent(0.0) == 0)
    # The lease is still known, so that it can be released.
    assert slots.leases() == ["a-lease"]


def wait_for_a_beat(slot: HeartbeatSlot) -> None:
    """Wait until the memory has been checked: each check comes between two beats."""
    for _ in range(2):
        eventually(lambda: slot.beat, partial(operator.ne, slot.beat))


def test_memory_beyond_the_limit_is_reported_while_a_lease_is_held():
    excess, slot = threading.Event(), HeartbeatSlot()
    heartbeat = Heartbeat(slot, memory_bytes=resident_bytes() + 64 * 2**20)
    heartbeat.start()
    heartbeat.hold_lease("a-lease", excess.set)
    wait_for_a_beat(slot)
    assert not excess.is_set()

    hoard = bytearray(os.urandom(1)) * (200 * 2**20)

    assert excess.wait(DEADLINE)
    heartbeat.release_lease("a-lease")
    del hoard


@pytest.mark.parametrize("memory_bytes", [0, 2**50])
def test_memory_within_the_limit_is_not_reported(memory_bytes: int):
    excess, slot = threading.Event(), HeartbeatSlot()
    heartbeat = Heartbeat(slot, memory_bytes=memory_bytes)
    heartbeat.start()
    heartbeat.hold_lease("a-lease", excess.set)
    wait_for_a_beat(slot)

    assert not excess.is_set()
    heartbeat.release_lease("a-lease")
