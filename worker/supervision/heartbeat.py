"""Heartbeats: a child shows its parent that it is alive and which leases it holds, and watches its memory.

A child that hangs in native code while it holds Python's GIL can do nothing any more, not even report it.
Its heartbeat then stops, and its parent kills it. The slots also tell the parent which leases its children
hold, so that it can give them back when it has to stop in a hurry.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

logger = logging.getLogger(__name__)

#: The most children that a worker may have.
MAX_CHILDREN = 1024
#: Seconds between two beats, and between two looks at the memory.
BEAT = 0.1

_STATM = Path("/proc/self/statm")


class HeartbeatSlot(ctypes.Structure):
    """What a child shows, in shared memory. It needs no lock: one process writes, and the parent reads."""

    _fields_ = (("pid", ctypes.c_int), ("beat", ctypes.c_double), ("leases", ctypes.c_char * 256))


class Heartbeat:
    """Writes a child's slot. The beat begins with `start`."""

    def __init__(self, slot: HeartbeatSlot, *, memory_bytes: int) -> None:
        """`memory_bytes` bounds the process's resident memory; 0 is no bound."""
        self._slot = slot
        self._memory_bytes = memory_bytes if _STATM.exists() else 0
        self._on_excess: Callable[[], object] | None = None
        self._leases: list[str] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        self._slot.leases = b""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @property
    def leases(self) -> list[str]:
        """The leases that this child holds: while one ends, the next may be held."""
        with self._lock:
            return list(self._leases)

    def hold_lease(self, lease_id: str, on_excess: Callable[[], object]) -> None:
        """Show a lease; if it is the only one, guard the memory with `on_excess`."""
        with self._lock:
            if not self._leases:
                self._on_excess = on_excess
                self._slot.pid, self._slot.beat = os.getpid(), time.monotonic()
            self._leases.append(lease_id)
            self._show()

    def release_lease(self, lease_id: str) -> None:
        with self._lock:
            self._leases.remove(lease_id)
            if not self._leases:
                self._on_excess = None
            self._show()

    def guard_memory(self, on_excess: Callable[[], object]) -> None:
        """From now on call `on_excess`, in another thread, if the memory exceeds its bound."""
        self._on_excess = on_excess

    def _show(self) -> None:
        self._slot.leases = " ".join(self._leases).encode()

    def _beat(self) -> None:
        while True:
            self._slot.beat = time.monotonic()
            on_excess = self._on_excess
            if on_excess is not None and 0 < self._memory_bytes < resident_bytes():
                on_excess()
            time.sleep(BEAT)


class HeartbeatSlots:
    """The slots of all children of a worker; the parent makes them before the first fork."""

    def __init__(self) -> None:
        self._slots = RawArray(HeartbeatSlot, MAX_CHILDREN)

    def heartbeat(self, index: int, *, memory_bytes: int) -> Heartbeat:
        """Return the heartbeat of the child of that number, below `MAX_CHILDREN`."""
        return Heartbeat(self._slots[index], memory_bytes=memory_bytes)

    def leases(self) -> list[str]:
        """Return the leases that children hold, or held when they were killed."""
        return [lease_id for slot in self._busy() for lease_id in slot.leases.decode().split()]

    def kill_silent(self, seconds: float) -> int:
        """Kill children that hold a lease and have not beaten for so long; return how many."""
        killed = 0
        for slot in self._busy():
            if time.monotonic() - slot.beat > seconds and _is_our_child(slot.pid):
                logger.error("A child hangs; killing it.", extra={"action": "kill_child", "child": slot.pid})
                os.kill(slot.pid, signal.SIGKILL)
                killed += 1
        return killed

    def _busy(self) -> Iterator[HeartbeatSlot]:
        return (slot for slot in self._slots if slot.leases)


def resident_bytes() -> int:
    """Return this process's resident memory; Linux only."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _is_our_child(pid: int) -> bool:
    """Return whether a process is a living child of this one: the kernel may have reused its number."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
