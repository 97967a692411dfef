"""Circuit breakers: while Redis or S3 is away, all processes of a worker wait together.

Each store has one, in memory that the worker's parent shares with its children. A failure
opens it: then one call at a time is let through to try the store, after ever longer pauses
with jitter, and the first that succeeds closes it for all. So a store that comes back is not
overrun, one that is away is not hammered, and the log has two lines instead of thousands.
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

#: Pauses between tries, in seconds: the first, and the longest. A store that is back is found within it.
FIRST, LONGEST = 0.1, 1.5
#: Trouble that passes within so many seconds is not worth a line in the log.
TOLD_AFTER = 1.0
#: A probe that hangs blocks other callers for at most this long.
TRYING = 3.0
#: Seconds between looks at a breaker that is open.
_LOOK = 0.05


class _Circuit(ctypes.Structure):
    """What the processes share. Times are those of the monotonic clock, which is one for all of them.

    There is no lock: a process that is killed would keep it for ever. A race costs one try
    or one line in the log too many.
    """

    _fields_ = (
        ("opened_at", ctypes.c_double),
        ("next_try", ctypes.c_double),
        ("pause", ctypes.c_double),
        ("told", ctypes.c_bool),
    )


class Breaker:
    """The breaker of one store. Made before the fork, it is one for all children."""

    def __init__(
        self,
        store: str,
        away: type[Unavailable],
        denied: type[FathomError] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the store's name, and the errors that say that it is away or refuses everything."""
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
        """Return what `call` returns, waiting for as long as the store is away.

        Raises what the store's absence raised once `seconds` have passed or `give_up` says so.
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
        """Try the store, if it is away and the time for that has come."""
        if self.is_open and self._may_try():
            with suppress(*INFRASTRUCTURE):
                self._try(ping)

    def note(self, error: FathomError, *, began: float) -> None:
        """Open if this error, of something begun at a time of the monotonic clock, means this store."""
        if isinstance(error, self._trips) and not isinstance(error, JobStoreFull):
            self._fail(error, began)

    def _try(self, call: Callable[[], T]) -> T:
        began = self._clock()
        try:
            result = call()
        except JobStoreFull:
            # It is there, and work that needs no more room goes on.
            self._succeed()
            raise
        except self._trips as exc:
            self._fail(exc, began)
            raise
        except (ObjectNotFound, RequestError):
            # That was an answer.
            self._succeed()
            raise
        self._succeed()
        return result

    def _may_try(self) -> bool:
        """Return whether to call the store now; while it is away, that is True for one caller at a time."""
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
        """Open the breaker of the store that an error means."""
        for breaker in (self.jobs, self.objects):
            breaker.note(error, began=began)


#: Refused credentials count too: an operator can mend them while the job waits.
INFRASTRUCTURE = (Unavailable, ObjectStoreDenied)
