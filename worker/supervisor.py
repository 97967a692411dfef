"""What every worker's parent process does beside its children: keep house.

Any worker may do any of it, one at a time under a short lock, so there is no beat
service and no single point: expired leases are taken back, tickets topped up, and
jobs whose last image has ended are finalised.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import JobNotFound
from shared.logs import log_context
from shared.ports import JobStore, ObjectStore, TicketQueue
from worker.backoff import INFRASTRUCTURE
from worker.finalize import finalize

logger = logging.getLogger(__name__)

#: Seconds between rounds, and how long a silent housekeeper keeps the others waiting.
ROUND, LOCK = 1.0, 5.0


class Housekeeper:
    """One round of housekeeping at a time, for one worker."""

    def __init__(
        self,
        *,
        name: str,
        slots: int,
        lease_images: int,
        jobs: JobStore,
        objects: ObjectStore,
        tickets: TicketQueue,
    ) -> None:
        self._name = name
        self._slots = slots
        self._lease_images = lease_images
        self._jobs = jobs
        self._objects = objects
        self._tickets = tickets

    def keep_house(self) -> None:
        """Say that this worker lives; then reap and top up, if no other worker is at it."""
        self._jobs.register_worker(self._name, self._slots)
        if self._jobs.acquire("housekeeping", self._name, LOCK):
            self._reap()
            self.top_up()

    def top_up(self) -> int:
        """Publish the tickets that are missing for the work there is; return how many."""
        wanted = self._jobs.pending_chunks(self._lease_images, at_most=2 * self._jobs.slots())
        missing = wanted - self._tickets.depth() if wanted else 0
        if missing > 0:
            self._tickets.publish(missing)
        return max(missing, 0)

    def finalize_all(self) -> int:
        """Finalise every job that waits for it; return how many."""
        finished = 0
        while (job_id := self._jobs.claim_finalize()) is not None:
            with log_context(job=job_id):
                finished += self._finalize(job_id)
        return finished

    def leave(self) -> None:
        """Say that this worker is going."""
        self._jobs.forget_worker(self._name)

    def _reap(self) -> None:
        reaped = self._jobs.reap()
        if reaped:
            logger.warning("Took back %s expired leases.", reaped, extra={"action": "reap"})

    def _finalize(self, job_id: str) -> int:
        try:
            state = finalize(job_id, self._jobs, self._objects)
        except JobNotFound:
            logger.info("A job was deleted before its end.", extra={"action": "finalize_job"})
            return 0
        logger.info("The job ended: %s.", state, extra={"action": "finalize_job", "state": state})
        return 1


class Rounds:
    """A thread that calls a function every second until it is stopped."""

    def __init__(self, name: str, call: Callable[[], object], seconds: float = ROUND) -> None:
        self._call = call
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ask the thread to stop and wait for the round it is in."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._round()

    def _round(self) -> None:
        try:
            self._call()
        except INFRASTRUCTURE as exc:
            logger.warning("Housekeeping waits: %s", exc.message, extra={"action": "wait", "code": exc.code})
        except Exception:
            # A fault in one round must not end all rounds to come: others depend on them.
            logger.exception("Housekeeping failed unexpectedly.", extra={"action": "keep_house"})
