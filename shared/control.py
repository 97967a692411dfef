"""Carry out what clients ask of a job, on both stores, so that it survives the loss of either.

The object store always comes first: what a client was told holds even if the job store loses
its data right after. If the process dies between the two, the client was told nothing, and asking
again completes the change. Requests for one job run one at a time, so that both stores see them
in the same order.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from shared.errors import JobBusy, JobNotFound, RequestError, Unavailable
from shared.jobs import object_keys
from shared.jobs.accepted_uploads import AcceptedUploads
from shared.jobs.intent import Intent, read_intent, write_intent
from shared.jobs.job import ALREADY, TRANSITIONS, ImageFailure, Job, JobState, is_job_id, refusal
from shared.jobs.record import JobResult, encode_result
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore

#: How many seconds a request waits for another one on the same job.
PATIENCE = 5.0
#: After so many seconds a request that was cut off no longer blocks the others.
HELD = 60.0
_PAUSE = 0.02


class Controls:
    """What clients may do to a job. All raise JobNotFound, and Unavailable if a store is away."""

    def __init__(self, jobs: JobStore, objects: ObjectStore, *, patience: float = PATIENCE) -> None:
        self._jobs = jobs
        self._objects = objects
        self._patience = patience

    def start(self, job_id: str, *, total: int | None = None, uploads: AcceptedUploads | None = None) -> Job:
        """Queue a job whose uploads are complete, as `JobStore.start` does, and keep their tags."""
        size = uploads.bytes if uploads else None
        return self._carry_out(
            "start",
            job_id,
            lambda: self._jobs.start(job_id, total=total, bytes=size),
            Intent(verb="start", total=total, bytes=size),
            uploads,
        )

    def pause(self, job_id: str) -> Job:
        return self._carry_out("pause", job_id, lambda: self._jobs.pause(job_id))

    def resume(self, job_id: str) -> Job:
        return self._carry_out("resume", job_id, lambda: self._jobs.resume(job_id))

    def cancel(self, job_id: str) -> Job:
        return self._carry_out("cancel", job_id, lambda: self._jobs.cancel(job_id))

    def retry(self, job_id: str) -> Job:
        """Queue the failed images of an ended job again; its result and failures are deleted."""

        def retry() -> Job:
            forget_end(self._objects, job_id)
            return self._jobs.retry(job_id)

        return self._carry_out("retry", job_id, retry)

    def abort(self, job_id: str, failure: ImageFailure) -> Job:
        """Fail a job that waits for its uploads, for a reason that concerns the whole job."""
        with self.alone(job_id):
            job = self._jobs.get(job_id)
            if job.state is JobState.UPLOADING:
                result = JobResult.of(job, JobState.FAILED, ended_at=self._jobs.now(), error=failure)
                data = encode_result(result)
                self._objects.put(object_keys.result(job_id), data, content_type="application/json")
            return self._jobs.abort(job_id, failure)

    def delete(self, job_id: str) -> bool:
        """Delete a job with all its objects; return whether there was anything. May be repeated.

        `job.json` goes first, because nothing restores a job without it.
        """
        with self.alone(job_id):
            known = self._knows(job_id)
            self._objects.delete(object_keys.job_record(job_id))
            self._jobs.delete(job_id)
        return self._objects.delete_prefix(object_keys.job_prefix(job_id)) > 0 or known

    def discard(self, job_id: str) -> int:
        """Delete a job whose id no client knows; return how many objects there were.

        While the job store is away, only `job.json` is deleted, so that nothing restores the job. The
        other objects stay, because the job store may have recorded the job and then needs them.
        """
        self._objects.delete(object_keys.job_record(job_id))
        self._jobs.delete(job_id)
        return self._objects.delete_prefix(object_keys.job_prefix(job_id))

    @contextmanager
    def alone(self, job_id: str) -> Iterator[None]:
        """Hold a job's lock, so that no other request changes the job inside the block.

        Raises JobNotFound for a text that is no job id, and JobBusy if the lock stays taken.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        name, owner = f"control:{job_id}", secrets.token_hex(8)
        deadline = time.monotonic() + self._patience
        while not self._jobs.acquire(name, owner, HELD):
            if time.monotonic() > deadline:
                raise JobBusy
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            # The lock would also expire by itself.
            with suppress(Unavailable):
                self._jobs.acquire(name, owner, 0)

    def _carry_out(
        self,
        verb: str,
        job_id: str,
        change: Callable[[], Job],
        intent: Intent | None = None,
        uploads: AcceptedUploads | None = None,
    ) -> Job:
        with self.alone(job_id):
            job = self._jobs.get(job_id)
            if job.state in ALREADY[verb]:
                return job
            # A job that failed as a whole has no images to retry, and must keep its result.
            if job.state not in TRANSITIONS[verb] or (verb == "retry" and job.error):
                raise refusal(verb, job.state)
            if uploads is not None:
                self._objects.put(object_keys.input_tags(job_id), uploads.tags)
            before = read_intent(self._objects, job_id)
            write_intent(self._objects, job_id, (intent or Intent(verb=verb)).after(before))
            try:
                return change()
            except RequestError:
                # The job store refused after all: the job has ended meanwhile, or would be too large.
                write_intent(self._objects, job_id, before)
                raise

    def _knows(self, job_id: str) -> bool:
        try:
            self._jobs.get(job_id)
        except JobNotFound:
            return False
        return True


def forget_end(objects: ObjectStore, job_id: str) -> None:
    """Delete a job's result and its failures from the object store."""
    objects.delete(object_keys.result(job_id))
    objects.delete_prefix(object_keys.all_failures_prefix(job_id))
    objects.delete_prefix(object_keys.failures_prefix(job_id))
