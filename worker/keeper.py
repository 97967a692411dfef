"""Keeping a lease: renewed from a thread, with the image in hand named for the reaper."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from shared.errors import TimedOut
from shared.jobs import ImageFailure, JobState, Lease
from shared.logs import log_context
from shared.ports import JobStore
from worker.backoff import INFRASTRUCTURE

logger = logging.getLogger(__name__)


def end_this_process() -> None:
    """Kill this process at once; native code that hangs cannot be stopped otherwise."""
    os.kill(os.getpid(), signal.SIGKILL)


class LeaseKeeper:
    """Holds a lease while it is worked off; use it as a context manager.

    A thread renews the lease every third of its length. It also watches the image
    in hand: one that takes longer than `image_seconds` is charged as timed out, the
    rest of the lease is given back, and the process ends (its parent starts another).
    """

    def __init__(
        self,
        jobs: JobStore,
        lease: Lease,
        *,
        lease_seconds: float,
        image_seconds: float,
        end_process: Callable[[], None] = end_this_process,
    ) -> None:
        self._jobs = jobs
        self._lease = lease
        self._interval = lease_seconds / 3
        self._image_seconds = image_seconds
        self._end_process = end_process
        self._lock = threading.Lock()
        self._in_hand: int | None = None
        self._since = time.monotonic()
        self._stop = threading.Event()
        self._dropped = False
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def in_hand(self) -> int | None:
        return self._in_hand

    @property
    def dropped(self) -> bool:
        """True once the rest of the lease is not to be worked off."""
        return self._dropped

    def take(self, index: int | None) -> None:
        """Name the image in hand, None between images, and renew the lease.

        Raises JobStoreUnavailable if the store is away; nothing is in hand then.
        """
        # One renewal at a time: an older one must not overwrite the image in hand.
        with self._lock:
            self._in_hand = None
            state = self._jobs.renew(self._lease, in_hand=index)
            self._since = time.monotonic()
            self._in_hand = index
        self.heed(state)

    def release(self) -> None:
        """Note that no image is in hand; the next renewal tells the store."""
        self._in_hand = None

    def heed(self, state: JobState | None) -> None:
        """Take note of the job's state; the lease is dropped when the job no longer runs."""
        if state is None or not state.runs:
            self._dropped = True

    def _run(self) -> None:
        # A thread begins with an empty log context.
        with log_context(job=self._lease.job_id):
            self._keep()

    def _keep(self) -> None:
        while not self._stop.wait(min(self._interval, self._image_seconds / 4)):
            try:
                with self._lock:
                    state = self._jobs.renew(self._lease, in_hand=self._in_hand)
                self.heed(state)
                self._watch()
            except INFRASTRUCTURE as exc:
                logger.warning("A lease was not renewed: %s", exc.message, extra={"action": "renew_lease"})

    def _watch(self) -> None:
        index = self._in_hand
        if index is None or time.monotonic() - self._since < self._image_seconds:
            return
        logger.error("Image %s takes too long; ending this process.", index, extra={"action": "time_out"})
        error = TimedOut()
        self._jobs.charge(self._lease, index, ImageFailure(code=error.code, message=error.message))
        self._jobs.give_back(self._lease)
        self._end_process()
