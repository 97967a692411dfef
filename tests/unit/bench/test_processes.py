"""What `bench.processes` reads from /proc, tried on this process and its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bench import processes
from tests.waiting import DEADLINE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed")


def test_processor_time_grows_with_work() -> None:
    before, deadline = processes.cpu_seconds([os.getpid()]), time.monotonic() + DEADLINE
    while processes.cpu_seconds([os.getpid()]) < before + 0.05:
        assert time.monotonic() < deadline

    assert processes.cpu_seconds([os.getpid()]) == pytest.approx(time.process_time(), abs=0.5)


def test_resident_memory_counts_what_is_written() -> None:
    before = processes.resident_mb(os.getpid())
    block = bytearray(b"x") * (64 * 2**20)

    assert processes.resident_mb(os.getpid()) - before > 50
    assert processes.peak_mb(os.getpid()) >= before + 50
    del block


def test_proportional_memory_counts_what_is_written() -> None:
    before = processes.proportional_mb(os.getpid())
    block = bytearray(b"x") * (64 * 2**20)

    assert processes.proportional_mb(os.getpid()) - before > 50
    del block


def test_a_child_is_found_whichever_thread_started_it() -> None:
    started, done = threading.Event(), threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        children.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        started.set()
        done.wait()

    thread = threading.Thread(target=start)
    thread.start()
    started.wait()
    with children[0] as child:
        assert child.pid in processes.children(os.getpid())
        done.set()
    thread.join()


def test_a_child_is_found_with_its_start_and_can_be_pinned() -> None:
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        processes.pin([child.pid], [core])

        assert child.pid in processes.descendants(os.getpid())
        assert os.sched_getaffinity(child.pid) == {core}
        assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - processes.started_at(child.pid) < 60


def test_a_group_keeps_its_living_members_without_its_leader() -> None:
    sleeper = "subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)"
    script = f"import subprocess; print({sleeper}.pid, flush=True); input()"
    leader = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    try:
        together = processes.members(leader.pid)
        leader.kill()
        leader.communicate()
        alone = processes.members(leader.pid)
    finally:
        os.kill(child, signal.SIGKILL)

    assert together == {leader.pid, child}
    assert alone == {child}
