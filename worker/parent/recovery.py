"""Recovery: restore the job store from the object store after it lost some or all of its data.

The object store holds the record: how each job was accepted, what clients asked of it since, which
images succeeded and which failed. Recovery restores what the job store lacks of that, while the API and
the workers continue. Images of a job are leased only once the job store knows which of them are done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

from shared.chores.enqueue import add_chores
from shared.chores.port import Chores
from shared.control import Controls
from shared.errors import InvalidTransition, JobNotFound
from shared.jobs import object_keys
from shared.jobs.intent import Intent, intended_state, read_intent
from shared.jobs.job import Job, JobState, is_job_id
from shared.jobs.record import JobResult
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context
from worker.parent.s3_scan import Outcomes, read_accepted, read_ended, read_result, read_running

logger = logging.getLogger(__name__)

#: Jobs compared at the same time: most of the time goes into the object store's latency.
SIDE_BY_SIDE = 8
#: Seconds that the lock lasts, and after which it is extended.
LOCK, EXTEND = 20.0, 4.0


class Recoverer:
    """Compares all jobs with the object store once after every start of the job store.

    It needs a job store of its own: `mark_reconciled` marks the server run that `is_reconciled` of the
    same object saw last.
    """

    def __init__(
        self,
        *,
        name: str,
        jobs: JobStore,
        objects: ObjectStore,
        chores: Chores,
        retention_seconds: float | None,
        draining: Callable[[], bool],
    ) -> None:
        """Ended jobs are kept for `retention_seconds`; None is for ever."""
        self._name = name
        self._jobs = jobs
        self._objects = objects
        self._controls = Controls(jobs, objects)
        self._chores = chores
        self._retention_seconds = retention_seconds
        self._draining = draining

    def recover(self) -> int | None:
        """Compare all jobs if that is due and no other worker does so; return how many.

        Raises Unavailable if a store is away; the next call starts over.
        """
        if self._jobs.is_reconciled() or not self._hold():
            return None
        logger.warning("The job store was restarted: comparing it with the object store.", extra=_ACTION)
        looked_at = self._walk()
        if looked_at is not None:
            self._jobs.mark_reconciled()
            logger.warning("Compared %s jobs with the object store.", looked_at, extra=_ACTION)
        return looked_at

    def _hold(self) -> bool:
        return self._jobs.acquire("recovery", self._name, LOCK)

    def _walk(self) -> int | None:
        """Compare every job; None if this worker stops, or another has taken over."""
        count, running = 0, set[Future[int]]()
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="recovery") as pool:
            for job_id in self._job_ids():
                running.add(pool.submit(self._recover, job_id))
                while len(running) >= 2 * SIDE_BY_SIDE:
                    count += _settle(running)
                    if not self._goes_on():
                        return None
            while running:
                count += _settle(running)
                if not self._goes_on():
                    return None
        return count

    def _goes_on(self) -> bool:
        return not self._draining() and self._hold()

    def _job_ids(self) -> Iterator[str]:
        return filter(is_job_id, self._objects.folders("jobs/"))

    def _recover(self, job_id: str) -> int:
        """Bring one job up to date; return 1, or 0 if there is no such job."""
        looked_at = None
        with log_context(job=job_id):
            while looked_at is None and not self._draining():
                looked_at = self._try_to_recover(job_id)
        return looked_at or 0

    def _try_to_recover(self, job_id: str) -> int | None:
        """Do so once; return None if the job ended or was retried meanwhile, and must be compared again."""
        known = self._find(job_id)
        accepted = read_accepted(self._objects, job_id)
        result = read_result(self._objects, job_id)
        if accepted is None or self._is_settled(known, result):
            self._add_chores(known)
            return 0 if accepted is None else 1
        # This may take long; the job's lock is not held yet.
        outcomes = read_ended(self._objects, result) if result else read_running(self._objects, accepted)
        with self._controls.alone(job_id):
            if result != read_result(self._objects, job_id):
                return None
            self._restore(accepted, result, outcomes)
        self._add_chores(self._find(job_id))
        if not self._objects.exists(object_keys.job_record(job_id)):
            # A client deleted it meanwhile, before the job store knew it.
            self._jobs.delete(job_id)
        return 1

    def _add_chores(self, job: Job | None) -> None:
        """Add the chores that a job still needs: Redis has lost those too."""
        if job is not None:
            add_chores(job, self._objects, self._chores)

    def _is_settled(self, known: Job | None, result: JobResult | None) -> bool:
        """Return whether a job needs no comparison: the job store knows its end, or it is about to expire."""
        if known is not None:
            return known.state is JobState.EXPIRED or (known.state.ended and result is not None)
        if result is None or result.ended_at is None or self._retention_seconds is None:
            return False
        return result.ended_at < self._jobs.now() - self._retention_seconds

    def _restore(self, accepted: Job, result: JobResult | None, outcomes: Outcomes) -> None:
        intent = read_intent(self._objects, accepted.id)
        if intent is not None and intent.bytes is not None:
            accepted = replace(accepted, bytes=intent.bytes)
        job = result.applied_to(accepted) if result else self._catch_up(accepted, intent)
        self._jobs.restore(
            job, succeeded=outcomes.succeeded, failures=outcomes.failures, common=outcomes.common
        )
        logger.debug("Restored a job from the object store: %s.", job.state, extra=_ACTION)

    def _catch_up(self, accepted: Job, intent: Intent | None) -> Job:
        """Return the job as clients last asked for it; if the job store knows it, replay what it missed."""
        total = intent.total if intent and intent.total else accepted.counts.total
        job = replace(
            accepted,
            state=intended_state(accepted, intent),
            counts=replace(accepted.counts, total=total),
        )
        known = self._find(job.id)
        if known is not None:
            for verb in _missed(known.state, job.state):
                with suppress(InvalidTransition):
                    self._ask(verb, job)
        return job

    def _ask(self, verb: str, job: Job) -> None:
        asks: dict[str, Callable[[], object]] = {
            "start": lambda: self._jobs.start(job.id, total=job.counts.total, bytes=job.bytes),
            "pause": lambda: self._jobs.pause(job.id),
            "resume": lambda: self._jobs.resume(job.id),
            "cancel": lambda: self._jobs.cancel(job.id),
            "retry": lambda: self._jobs.retry(job.id),
        }
        asks[verb]()

    def _find(self, job_id: str) -> Job | None:
        try:
            return self._jobs.get(job_id)
        except JobNotFound:
            return None


_ACTION = {"action": "recover"}


def _missed(present: JobState, wanted: JobState) -> list[str]:
    """Return the verbs that clients used since the job store's copy of the data was made.

    If the job has ended in that copy but has no result in the object store, a client retried it.
    """
    verbs = ["retry"] if present in (JobState.PARTIAL, JobState.FAILED) else []
    if present is JobState.UPLOADING and wanted in (JobState.QUEUED, JobState.PAUSED):
        verbs.append("start")
    if present is JobState.PAUSED and wanted is JobState.QUEUED:
        verbs.append("resume")
    verbs += {JobState.PAUSED: ["pause"], JobState.CANCELING: ["cancel"]}.get(wanted, [])
    return verbs


def _settle(running: set[Future[int]]) -> int:
    """Wait a moment for some to end, remove them, and return the sum of their results."""
    done, _ = wait(running, timeout=EXTEND, return_when=FIRST_COMPLETED)
    running -= done
    return sum(future.result() for future in done)
