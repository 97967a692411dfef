"""The lease renewer: a thread renews the lease and tells the job store which image is in hand."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from shared.errors import ImageError, JobNotFound, OutOfMemory, TimedOut
from shared.jobs.job import ImageFailure, JobState, Lease
from shared.jobstore.port import JobStore
from shared.observability.logs import log_context
from worker.supervision.breaker import STORE_ERRORS, Breaker
from worker.supervision.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

_ENDING = {"action": "end_process"}

#: Seconds between looks at the image in hand.
TICK = 0.2
#: Seconds between renewals while a long image is in hand: a cancel interrupts it within a second.
LONG_TICK = 0.5
#: An image that costs more than this may take longer than a second.
LONG_COST = 10.0
#: Seconds that the image in hand still has once this worker stops; then another worker may take it.
STOP_GRACE = 0.5


def end_this_process() -> None:
    """Kill this process at once: nothing else stops native code that hangs."""
    os.kill(os.getpid(), signal.SIGKILL)


class LeaseRenewer:
    """Renews a lease while a child works it off; use it as a context manager.

    A thread renews the lease three times in its length, and watches the image in hand. An image that
    takes longer than `image_seconds`, times its cost if that is above 1, or more memory than the heartbeat
    allows, is charged; the rest of the lease and all other leases of the child are given back, and the
    process ends (its parent starts another). When the worker stops, the whole lease is given back after a
    moment. While a long image is in hand, it renews more often, to learn of a cancel in time.
    """

    def __init__(
        self,
        jobs: JobStore,
        lease: Lease,
        *,
        lease_seconds: float,
        image_seconds: float,
        breaker: Breaker,
        heartbeat: Heartbeat,
        draining: Callable[[], bool],
        end_process: Callable[[], None] = end_this_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._lease = lease
        self._interval = lease_seconds / 3
        self._long_interval = min(self._interval, LONG_TICK) if lease.cost > LONG_COST else self._interval
        self._image_seconds = image_seconds
        self._cost = max(1.0, lease.cost)
        self._breaker = breaker
        self._heartbeat = heartbeat
        self._draining = draining
        self._draining_since: float | None = None
        self._end_process = end_process
        #: One lock for renewals, and one for the image in hand, so that reading it never waits for a renewal.
        self._renewal = threading.Lock()
        self._lock = threading.Lock()
        self._in_hand: int | None = None
        self._since = self._renewed_at = self._clock()
        self._stop = threading.Event()
        self._dropped = self._unwanted = False
        self._thread = threading.Thread(target=self._run, name="lease-renewer", daemon=True)

    def __enter__(self) -> Self:
        self._heartbeat.hold_lease(self._lease.id, self._run_out_of_memory)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.release_lease(self._lease.id)
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def in_hand(self) -> int | None:
        return self._look()[0]

    @property
    def dropped(self) -> bool:
        """True once the rest of the lease must not be worked off."""
        return self._dropped

    def is_unwanted(self) -> bool:
        """Return True once not even the image in hand is to be finished.

        That of a lost lease is: its outcome still counts, unless the job does not run any more.
        """
        return self._unwanted

    def take(self, index: int) -> None:
        """Name the image in hand and renew the lease.

        Raises JobStoreUnavailable if the store is away; nothing is in hand then.
        """
        # One renewal at a time, so that an older one cannot overwrite the image in hand.
        with self._renewal:
            self._set(None)
            state = self._jobs.renew(self._lease, in_hand=index)
            self._renewed_at = self._clock()
            self._set(index)
        # Only the renewer of the image in hand knows which image to charge.
        self._heartbeat.guard_memory(self._run_out_of_memory)
        self.note_state(state)

    def release(self) -> None:
        """Note that no image is in hand; the next renewal tells the job store."""
        self._set(None)

    def put_down(self) -> None:
        """Tell the job store that no image is in hand, before an image of another lease is.

        Otherwise a crash would be charged to both. Raises JobStoreUnavailable.
        """
        with self._renewal:
            self._set(None)
            self._jobs.renew(self._lease, in_hand=None)
            self._renewed_at = self._clock()

    def note_state(self, state: JobState | None) -> None:
        """Drop the lease if the job no longer runs; None means that the lease is lost."""
        if state is None or not state.runs:
            self._dropped = True
        if state is not None and not state.runs:
            self._unwanted = True

    def _set(self, index: int | None) -> None:
        with self._lock:
            self._in_hand, self._since = index, self._clock()

    def _look(self) -> tuple[int | None, float]:
        """Return the image in hand and when it was taken, read together."""
        with self._lock:
            return self._in_hand, self._since

    def _run(self) -> None:
        # A thread begins with an empty log context.
        with log_context(job=self._lease.job_id):
            while not self._stop.wait(min(TICK, self._interval, self._image_seconds / 4)):
                try:
                    self._breaker.call(self._tick)
                except STORE_ERRORS:
                    # The breaker logs it. Outcomes count even if the lease is lost.
                    continue

    def _tick(self) -> None:
        now = self._clock()
        interval = self._interval if self.in_hand is None else self._long_interval
        if now - self._renewed_at >= interval:
            self._renew(now)
        index, since = self._look()
        if index is not None and (now - since) / self._cost >= self._image_seconds:
            self._abandon(index, TimedOut())
        if self._draining():
            self._hand_over(now)

    def _renew(self, now: float) -> None:
        with self._renewal:
            state = self._jobs.renew(self._lease, in_hand=self.in_hand)
            self._renewed_at = now
        self.note_state(state)
        if state is None:
            self._unwanted = self._unwanted or not self._job_runs()

    def _job_runs(self) -> bool:
        try:
            return self._jobs.get(self._lease.job_id).state.runs
        except JobNotFound:
            return False

    def _hand_over(self, now: float) -> None:
        """Give back the lease, and the image in hand if it takes long: only the first end of it counts."""
        self._draining_since = self._draining_since or now
        if not self._dropped and now - self._draining_since >= STOP_GRACE:
            self._jobs.give_back(self._lease.id)
            self._dropped = self._unwanted = True

    def _abandon(self, index: int, error: ImageError) -> None:
        logger.error("Image %s is charged (%s); ending this process.", index, error.code, extra=_ENDING)
        self._jobs.charge(self._lease, index, ImageFailure(code=error.code, message=error.message))
        self._give_all_back()
        self._end_process()

    def _run_out_of_memory(self) -> None:
        """End this process before the machine runs out of memory. The heartbeat calls this."""
        index = self.in_hand
        try:
            if index is not None:
                self._abandon(index, OutOfMemory())
            self._give_all_back()
        except STORE_ERRORS as exc:
            # This cannot wait. The reaper will charge the image as one that crashed its worker.
            logger.warning("The image is not charged: %s", exc.message, extra=_ENDING)
        self._end_process()

    def _give_all_back(self) -> None:
        for lease_id in {self._lease.id, *self._heartbeat.leases}:
            self._jobs.give_back(lease_id)
