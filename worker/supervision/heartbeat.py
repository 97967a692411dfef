"""Where a child works: what its parent sees of it, its pulse, and the memory it may take.

A child that hangs in native code, holding Python's own lock, can do nothing any more, not even
say so. Its pulse then stops, and its parent ends it. The same table tells the parent which
leases are out, so that it can give them back when it has to stop its children in a hurry.
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

#: Most children of one worker.
MOST = 1024
#: Seconds between two beats; so often the memory is looked at.
BEAT = 0.1

_STATM = Path("/proc/self/statm")


class Place(ctypes.Structure):
    """What a child shows. Without a lock: one process writes, and the parent reads."""

    _fields_ = (("pid", ctypes.c_int), ("beat", ctypes.c_double), ("lease", ctypes.c_char * 64))


class Station:
    """A child's own place. The pulse begins with `start`."""

    def __init__(self, place: Place | None = None, *, memory_bytes: int = 0) -> None:
        """`memory_bytes` bounds what the process may take; 0 is no bound."""
        self._place = place if place is not None else Place()
        self._memory_bytes = memory_bytes if _STATM.exists() else 0
        self._on_excess: Callable[[], object] | None = None

    def start(self) -> None:
        self._place.lease = b""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def take_up(self, lease_id: str, on_excess: Callable[[], object]) -> None:
        """Show a lease; `on_excess` is called, from another thread, if the memory is used up."""
        self._on_excess = on_excess
        self._place.pid, self._place.beat = os.getpid(), time.monotonic()
        self._place.lease = lease_id.encode()

    def lay_down(self) -> None:
        self._on_excess = None
        self._place.lease = b""

    def _beat(self) -> None:
        while True:
            self._place.beat = time.monotonic()
            on_excess = self._on_excess
            if on_excess is not None and 0 < self._memory_bytes < resident_bytes():
                on_excess()
            time.sleep(BEAT)


class Stations:
    """The places of all children of a worker, made by the parent before the first fork."""

    def __init__(self) -> None:
        self._places = RawArray(Place, MOST)

    def station(self, index: int, *, memory_bytes: int) -> Station:
        """Return the place of the child with a number below `MOST`."""
        return Station(self._places[index], memory_bytes=memory_bytes)

    def leases(self) -> list[str]:
        """Return the leases that children hold, or held when they were killed."""
        return [place.lease.decode() for place in self._busy()]

    def end_silent(self, seconds: float) -> int:
        """Kill children that hold a lease and have shown no pulse for so long; return how many."""
        ended = 0
        for place in self._busy():
            if time.monotonic() - place.beat > seconds and _is_our_child(place.pid):
                logger.error("A child hangs; ending it.", extra={"action": "end_child", "child": place.pid})
                os.kill(place.pid, signal.SIGKILL)
                ended += 1
        return ended

    def _busy(self) -> Iterator[Place]:
        return (place for place in self._places if place.lease)


def resident_bytes() -> int:
    """Return how much memory this process takes; Linux only."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _is_our_child(pid: int) -> bool:
    """Tell whether a process is a living child of this one: the number may be another's by now."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
