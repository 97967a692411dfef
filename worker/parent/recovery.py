"""Making the job store whole again from the object store, after it lost its data or some of it.

The object store holds the record: how each job was accepted, what was asked of it since,
which images are done and which have failed. Whatever the job store lacks of that is brought
back, while the API and the workers go on. A job is handed out only once it knows what is done.
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

#: Jobs looked at side by side: it is the object store's latency that takes the time.
SIDE_BY_SIDE = 8
#: The walk's lock, and how often it is extended, in seconds.
LOCK, EXTEND = 20.0, 4.0


class Recoverer:
    """Compares all jobs with the object store once after every start of the job store.

    Its job store must be its own: what `is_reconciled` answers there is what `mark_reconciled`
    rests on.
    """

    def __init__(
        self,
        *,
        name: str,
        jobs: JobStore,
        objects: ObjectStore,
        chores: Chores,
        retention_seconds: float | None,
        give_up: Callable[[], bool],
    ) -> None:
        """`retention_seconds` is how long ended jobs are kept; None is for ever."""
        self._name = name
        self._jobs = jobs
        self._objects = objects
        self._controls = Controls(jobs, objects)
        self._chores = chores
        self._retention_seconds = retention_seconds
        self._give_up = give_up

    def recover(self) -> int | None:
        """Compare all jobs if that is due and no other worker is at it; return how many were looked at.

        Raises Unavailable if a store is away; the next call begins anew.
        """
        if self._jobs.is_reconciled() or not self._hold():
            return None
        logger.warning("The job store was started anew: comparing it with the object store.", extra=_ACTION)
        looked_at = self._walk()
        if looked_at is not None:
            self._jobs.mark_reconciled()
            logger.warning("Compared %s jobs with the object store.", looked_at, extra=_ACTION)
        return looked_at

    def _hold(self) -> bool:
        return self._jobs.acquire("recovery", self._name, LOCK)

    def _walk(self) -> int | None:
        """Look at every job; None if this worker is to stop, or another has taken over."""
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
        return not self._give_up() and self._hold()

    def _job_ids(self) -> Iterator[str]:
        return filter(is_job_id, self._objects.folders("jobs/"))

    def _recover(self, job_id: str) -> int:
        """Bring one job up to date; return 0 if there is none of that id."""
        looked_at = None
        with log_context(job=job_id):
            while looked_at is None and not self._give_up():
                looked_at = self._try_to_recover(job_id)
        return looked_at or 0

    def _try_to_recover(self, job_id: str) -> int | None:
        """Do so; return None if it ended or began anew meanwhile, and must be looked at again."""
        known = self._find(job_id)
        accepted = read_accepted(self._objects, job_id)
        result = read_result(self._objects, job_id)
        if accepted is None or self._is_settled(known, result):
            self._add_chores(known)
            return 0 if accepted is None else 1
        # This may take long, and nothing waits for it.
        outcomes = read_ended(self._objects, result) if result else read_running(self._objects, accepted)
        with self._controls.alone(job_id):
            if result != read_result(self._objects, job_id):
                return None
            self._restore(accepted, result, outcomes)
        self._add_chores(self._find(job_id))
        if not self._objects.exists(object_keys.job_record(job_id)):
            # It was deleted meanwhile, when the job store did not know it yet.
            self._jobs.delete(job_id)
        return 1

    def _add_chores(self, job: Job | None) -> None:
        """Note what is still to be done for a job as it stands now: the list of chores was lost as well."""
        if job is not None:
            add_chores(job, self._objects, self._chores)

    def _is_settled(self, known: Job | None, result: JobResult | None) -> bool:
        """Whether there is nothing to learn about a job: it ended and is known so, or is to go."""
        if known is not None:
            return known.state is JobState.EXPIRED or (known.state.ended and result is not None)
        if result is None or result.ended_at is None or self._retention_seconds is None:
            return False
        return result.ended_at < self._jobs.now() - self._retention_seconds

    def _restore(self, accepted: Job, result: JobResult | None, outcomes: Outcomes) -> None:
        intent = read_intent(self._objects, accepted.id)
        if intent is not None and intent.bytes is not None:
            accepted = replace(accepted, bytes=intent.bytes)
        job = result.applied_to(accepted) if result else self._bring(accepted, intent)
        self._jobs.restore(
            job, succeeded=outcomes.succeeded, failures=outcomes.failures, common=outcomes.common
        )
        logger.debug("A job is as the object store has it: %s.", job.state, extra=_ACTION)

    def _bring(self, accepted: Job, intent: Intent | None) -> Job:
        """Carry out on a job that the job store knows what was asked of it; return it as it is to stand."""
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
    """Return what was asked of a job since the copy of the data that the job store has.

    A job that has ended there, and has no result in the object store, was retried since.
    """
    verbs = ["retry"] if present in (JobState.PARTIAL, JobState.FAILED) else []
    if present is JobState.UPLOADING and wanted in (JobState.QUEUED, JobState.PAUSED):
        verbs.append("start")
    if present is JobState.PAUSED and wanted is JobState.QUEUED:
        verbs.append("resume")
    verbs += {JobState.PAUSED: ["pause"], JobState.CANCELING: ["cancel"]}.get(wanted, [])
    return verbs


def _settle(running: set[Future[int]]) -> int:
    """Wait a moment for some to end, and take them out; return the sum of what they return."""
    done, _ = wait(running, timeout=EXTEND, return_when=FIRST_COMPLETED)
    running -= done
    return sum(future.result() for future in done)
