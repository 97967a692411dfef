"""Circuit breakers: while Redis or S3 is away, all processes of a worker wait together.

Each store has one breaker, in memory that the worker's parent shares with its children. A failure
opens it. Then it lets one call at a time through to probe the store, after ever longer pauses with
jitter, and the first success closes it for all. So nothing hammers a store that is away or overruns one
that is back, and the log has two lines instead of thousands.
"""

from __future__ import annotations

import ctypes
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.sharedctypes import RawValue
from typing import TypeVar

from shared.errors import (
    FathomError,
    JobStoreFull,
    JobStoreUnavailable,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    RequestError,
    Unavailable,
)

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: Pauses between probes, in seconds: the first and the longest. A store that is back is noticed within it.
FIRST, LONGEST = 0.1, 1.5
#: An outage shorter than this, in seconds, is not logged.
TOLD_AFTER = 1.0
#: A probe that hangs blocks other callers for at most this long.
TRYING = 3.0
#: Seconds between looks at a breaker that is open.
_LOOK = 0.05


class _Circuit(ctypes.Structure):
    """What the processes share. Times are of the monotonic clock, which all processes share too.

    There is no lock, because a killed process would hold it for ever. A race costs one extra probe
    or log line.
    """

    _fields_ = (
        ("opened_at", ctypes.c_double),
        ("next_try", ctypes.c_double),
        ("pause", ctypes.c_double),
        ("told", ctypes.c_bool),
    )


class Breaker:
    """The breaker of one store. Make it before the fork, so that all children share it."""

    def __init__(
        self,
        store: str,
        away: type[Unavailable],
        denied: type[FathomError] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`away` and `denied` are the errors that say that the store is away or refuses everything."""
        self._store = store
        self._clock = clock
        self._away = away
        self._trips = (away, denied) if denied else (away,)
        self._circuit = RawValue(_Circuit)

    @property
    def is_open(self) -> bool:
        return bool(self._circuit.opened_at > 0)

    def call(
        self,
        call: Callable[[], T],
        *,
        seconds: float = 0.0,
        give_up: Callable[[], bool] = lambda: False,
        wait: Callable[[float], object] = time.sleep,
    ) -> T:
        """Return what `call` returns; wait and call again while the store is away.

        Raises the store's last error once `seconds` have passed or `give_up` returns True.
        """
        deadline = self._clock() + seconds
        error: FathomError = self._away()
        while True:
            if self._may_try():
                try:
                    return self._try(call)
                except self._trips as exc:
                    if isinstance(exc, JobStoreFull):
                        raise
                    error = exc
            if give_up() or self._clock() >= deadline:
                raise error
            wait(_LOOK * random.uniform(0.5, 1.5))

    def probe(self, ping: Callable[[], object]) -> None:
        """Probe the store if it is away and the next probe is due."""
        if self.is_open and self._may_try():
            with suppress(*STORE_ERRORS):
                self._try(ping)

    def note(self, error: FathomError, *, began: float) -> None:
        """Open if this error means this store. The failed call began at `began` of the monotonic clock."""
        if isinstance(error, self._trips) and not isinstance(error, JobStoreFull):
            self._fail(error, began)

    def _try(self, call: Callable[[], T]) -> T:
        began = self._clock()
        try:
            result = call()
        except JobStoreFull:
            # The store is there, and work that needs no more room continues.
            self._succeed()
            raise
        except self._trips as exc:
            self._fail(exc, began)
            raise
        except (ObjectNotFound, RequestError):
            # The store answered.
            self._succeed()
            raise
        self._succeed()
        return result

    def _may_try(self) -> bool:
        """Return whether to call the store now; while it is away, only one caller at a time may."""
        circuit, now = self._circuit, self._clock()
        if not self.is_open:
            return True
        if now < circuit.next_try:
            return False
        circuit.next_try = now + TRYING
        return True

    def _fail(self, error: FathomError, began: float) -> None:
        circuit, now = self._circuit, self._clock()
        if not self.is_open:
            circuit.pause, circuit.told, circuit.opened_at = FIRST, False, now
        elif began >= circuit.opened_at:
            circuit.pause = min(2 * circuit.pause, LONGEST)
        circuit.next_try = now + circuit.pause * random.uniform(0.5, 1.0)
        if now - circuit.opened_at >= TOLD_AFTER and not circuit.told:
            circuit.told = True
            extra = {"action": "wait", "code": error.code}
            logger.warning("%s is away; waiting for it. %s", self._store, error.message, extra=extra)

    def _succeed(self) -> None:
        circuit = self._circuit
        if not self.is_open:
            return
        seconds, told = self._clock() - circuit.opened_at, circuit.told
        circuit.opened_at, circuit.told = 0.0, False
        if told:
            extra = {"action": "go_on", "seconds": round(seconds, 1)}
            logger.warning("%s is back after %.1f s.", self._store, seconds, extra=extra)


class Breakers:
    """The breakers of a worker's two stores."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs = Breaker("The job store (Redis)", JobStoreUnavailable, clock=clock)
        self.objects = Breaker(
            "The object store (S3)", ObjectStoreUnavailable, denied=ObjectStoreDenied, clock=clock
        )

    def note(self, error: FathomError, *, began: float) -> None:
        """Open the breaker of the store that failed."""
        for breaker in (self.jobs, self.objects):
            breaker.note(error, began=began)


#: The errors of a store that is away. Refused credentials count too: an operator can mend them meanwhile.
STORE_ERRORS = (Unavailable, ObjectStoreDenied)
