"""Memory that a worker's parent shares with its children: it is made before they are forked."""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawValue

from worker.supervision.breaker import Breakers
from worker.supervision.heartbeat import HeartbeatSlots

_draining = RawValue(ctypes.c_bool, False)

#: One pair for the whole worker: what one process learns about a store, all know.
breakers = Breakers()

#: The heartbeat slots of all children.
heartbeat_slots = HeartbeatSlots()


def draining() -> bool:
    """Return True once this worker must take no more work."""
    return bool(_draining.value)


def drain() -> None:
    """Let the children finish the images in hand and give the rest back."""
    _draining.value = True
