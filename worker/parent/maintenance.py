"""What every worker's parent process does beside its children: maintenance.

It takes back expired leases, tops up tickets, and finalises jobs whose last image has ended. Any worker
may do it, one at a time under a short lock, so there is no beat service and no single point of failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from shared.chores.port import Chores
from shared.control import Controls
from shared.errors import JobBusy, JobNotFound, JobStoreFull
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import FinalizeClaim, ImageStatus
from shared.jobstore.port import DEFAULT_MODELS, JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context
from shared.observability.tracing import Tracer
from shared.tickets import TicketQueue
from worker.parent.finalize import finalize
from worker.supervision.periodic import PERIOD

logger = logging.getLogger(__name__)

#: Seconds until another worker takes over from one that has died.
LOCK = 5.0
#: Seconds that a worker may need to notice that the job store is back, beside the time between renewals.
NOTICE = 5.0
#: The locks under which one process at a time works for all. Those of jobs are held for moments.
LOCKS = ("maintenance", "recovery", "expiry", "sweep")


class Maintenance:
    """The maintenance that one process does for all; threads call its methods again and again.

    A process without `slots` is no worker, and is not registered as one.
    """

    def __init__(
        self,
        *,
        name: str,
        slots: int,
        models: Mapping[str, float] = DEFAULT_MODELS,
        lease_images: int,
        lease_seconds: float,
        jobs: JobStore,
        objects: ObjectStore,
        tickets: TicketQueue,
        chores: Chores,
        tracer: Tracer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._slots = slots
        self._models = models
        self._lease_images = lease_images
        self._jobs = jobs
        self._objects = objects
        self._controls = Controls(jobs, objects, patience=0.0)
        self._tickets = tickets
        self._chores = chores
        self._tracer = tracer
        self._renewal = lease_seconds / 3
        self._clock = clock
        self._last_run: float | None = None
        self._reap_from = 0.0
        self._tickets_are_stuck = False

    def run(self) -> None:
        """Register this worker; then reap and top up, if no other process is doing so."""
        if self._slots:
            self._jobs.register_worker(self._name, self._slots, self._models)
        self._notice_gap()
        if self._jobs.acquire("maintenance", self._name, LOCK):
            if self._clock() >= self._reap_from:
                self._reap()
            self.top_up()
        self._last_run = self._clock()

    def top_up(self) -> int:
        """Publish the tickets that the pending work lacks; return how many."""
        served = self._jobs.served_models()
        missing = {model: self._missing_tickets(model, each.slots) for model, each in served.items()}
        try:
            for model, count in missing.items():
                if count:
                    self._tickets.publish(count, model)
        except JobStoreFull as exc:
            # Children at work continue. The next run tries again; the log has one line.
            if not self._tickets_are_stuck:
                logger.warning("No tickets: %s", exc.message, extra={"action": "top_up"})
            self._tickets_are_stuck = True
            return 0
        self._tickets_are_stuck = False
        return sum(missing.values())

    def _missing_tickets(self, model: str, slots: int) -> int:
        wanted = self._jobs.pending_chunks(self._lease_images, at_most=2 * slots, model=model)
        return max(wanted - self._tickets.depth(model), 0) if wanted else 0

    def finish_up(self) -> None:
        """Store the reasons of images that were given up, and finalise jobs that have ended."""
        self.write_failures()
        self.finalize_all()

    def write_failures(self) -> int:
        """Copy the reasons that only the job store knows to the object store; return how many."""
        job_ids = dict.fromkeys(job_id for job_id, _ in self._jobs.unwritten_failures())
        return sum(map(self._write_failures_of, job_ids))

    def finalize_all(self) -> int:
        """Finalise every job that waits for it; return how many."""
        finished = 0
        while (claim := self._jobs.claim_finalize()) is not None:
            with log_context(job=claim.job_id):
                finished += self._finalize(claim)
        return finished

    def unregister(self) -> None:
        """Stop counting this worker, and let others take over at once: it is about to end."""
        self._jobs.forget_worker(self._name)
        for lock in LOCKS:
            self._jobs.acquire(lock, self._name, 0.0)

    def _notice_gap(self) -> None:
        """Postpone reaping after a time without runs: then nobody could renew a lease either.

        A job store that was away or has restarted holds leases that expired meanwhile. Their
        holders get the time to renew them, so that no image is charged for it.
        """
        now = self._clock()
        if self._last_run is None:
            was_away = not self._jobs.is_reconciled()
        else:
            was_away = now - self._last_run > self._renewal + 2 * PERIOD
        if was_away:
            self._reap_from = now + self._renewal + NOTICE

    def _reap(self) -> None:
        reaped = self._jobs.reap()
        if reaped:
            logger.warning("Took back %s expired leases.", reaped, extra={"action": "reap"})

    def _write_failures_of(self, job_id: str) -> int:
        """Write those of one job, unless a client changes it now: none may be written once a retry took
        them back."""
        try:
            with self._controls.alone(job_id):
                unwritten = [image for job, image in self._jobs.unwritten_failures() if job == job_id]
                self._jobs.mark_written(job_id, [self._write_failure(job_id, image) for image in unwritten])
        except JobBusy:
            return 0
        return len(unwritten)

    def _write_failure(self, job_id: str, image: ImageStatus) -> int:
        if image.failure is not None:
            key = object_keys.failure(job_id, image.index)
            self._objects.put(key, encode_failure(image.failure), content_type="application/json")
        return image.index

    def _finalize(self, claim: FinalizeClaim) -> int:
        try:
            state = finalize(claim, self._jobs, self._objects, self._chores, self._tracer)
        except JobNotFound:
            logger.info("A job was deleted before its end.", extra={"action": "finalize_job"})
            return 0
        logger.info("The job ended: %s.", state, extra={"action": "finalize_job", "state": state})
        return 1
