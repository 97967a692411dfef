"""The lease loop of a child: take a lease, then fetch, process, store and commit each of its images.

Transfers overlap with computing: while one image is processed, the next is fetched and the one
before is stored.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from shared.errors import ImageError, InternalImageError, OutOfMemory, TimedOut
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, JobState, Lease, Phase, Range
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context
from worker.child.fetch import Fetcher
from worker.child.lease_renewer import LeaseRenewer
from worker.child.prefetch import Prefetcher
from worker.child.timing import DepthPipeline
from worker.child.tracing import LeaseTrace, Traces
from worker.pipeline.pipeline import ResultFile
from worker.supervision.breaker import STORE_ERRORS, Breaker, Breakers
from worker.supervision.heartbeat import Heartbeat

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long things may take, in seconds."""

    #: A lease not renewed for this long is taken back.
    lease: float
    #: Processing one image.
    image: float
    #: Waiting for Redis or S3 to come back before the lease is given up.
    patience: float = 30.0
    #: After a ticket's time, images of its last lease may still begin for this long.
    grace: float = 5.0


#: Results of this size are stored before the next image begins: the floats of 200 megapixels have 800 MB.
LARGE_BYTES = 128 * 2**20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one image ended: with files, a range, a failure, or an attempt to be charged."""

    files: tuple[ResultFile, ...] = ()
    measured: Range | None = None
    failure: ImageFailure | None = None
    #: The failure may not be the image's fault: charge an attempt and try again.
    try_again: bool = False

    @property
    def is_large(self) -> bool:
        return sum(len(file.data) for file in self.files) > LARGE_BYTES


class LeaseLoop:
    """Works off leases, one after another. Each child process has one."""

    def __init__(
        self,
        *,
        name: str,
        jobs: JobStore,
        objects: ObjectStore,
        fetcher: Fetcher,
        pipeline: DepthPipeline,
        timeouts: Timeouts,
        lease_images: int,
        draining: Callable[[], bool],
        breakers: Breakers,
        heartbeat: Heartbeat,
        traces: Traces,
    ) -> None:
        self._name = name
        self._jobs = jobs
        self._objects = objects
        self._pipeline = pipeline
        self._timeouts = timeouts
        self._lease_images = lease_images
        self._draining = draining
        self._breakers = breakers
        self._heartbeat = heartbeat
        self._traces = traces
        self._fetcher = fetcher
        self._no_image_after = math.inf
        self._prefetcher = Prefetcher()
        self._storer = ThreadPoolExecutor(1, thread_name_prefix="store")

    def work(self, seconds: float) -> bool:
        """Work off leases until there is none; take no new one after `seconds`.

        No image begins once the grace is over too, so a lease of slow images is left unfinished.
        Return True if there may be more work. Raises Unavailable or ObjectStoreDenied when Redis or S3
        stays away for longer than the patience; no image is harmed then.
        """
        until = time.monotonic() + seconds
        while not self._draining():
            if time.monotonic() >= until:
                return True
            lease = self._take_lease()
            if lease is None:
                return False
            self._no_image_after = until + self._timeouts.grace
            with log_context(job=lease.job_id):
                self._work_off(lease)
        return True

    def _take_lease(self) -> Lease | None:
        if self._breakers.objects.is_open:
            # A lease is of no use without the object store.
            self._patiently(self._breakers.objects, self._objects.ping)
        return self._patiently(
            self._breakers.jobs, lambda: self._jobs.lease(self._name, limit=self._lease_images)
        )

    def _work_off(self, lease: Lease) -> None:
        renewer = LeaseRenewer(
            self._jobs,
            lease,
            lease_seconds=self._timeouts.lease,
            image_seconds=self._timeouts.image,
            breaker=self._breakers.jobs,
            heartbeat=self._heartbeat,
            draining=self._draining,
        )
        with renewer, self._traces.follow(lease) as trace:
            try:
                self._work_through(lease, renewer, trace)
            finally:
                self._give_back(lease)

    def _work_through(self, lease: Lease, renewer: LeaseRenewer, trace: LeaseTrace) -> None:
        storing: Future[None] | None = None
        try:
            for index, fetching in self._prefetcher.images(lease, trace.fetching(self._fetcher.fetch)):
                outcome = self._outcome(lease, renewer, trace, index, fetching)
                if storing is not None:
                    storing.result()
                if outcome is None:
                    break
                storing = self._storer.submit(self._commit, lease, renewer, trace, index, outcome)
                if outcome.is_large:
                    storing.result()
                # This image's results must not stay in memory while the next image is processed.
                del outcome
        finally:
            # Whatever happened to this image, try to commit the one before it.
            renewer.release()
            if storing is not None:
                storing.result()

    def _outcome(
        self, lease: Lease, renewer: LeaseRenewer, trace: LeaseTrace, index: int, fetching: Future[bytes]
    ) -> Outcome | None:
        """Return how an image ended; None if the rest of the lease is to be dropped."""
        try:
            data = fetching.result()
        except ImageError as exc:
            # A fetch that stopped because this child stops says nothing about its image.
            return None if self._draining() else _failed(exc, try_again=exc.transient)
        if self._draining() or renewer.dropped or time.monotonic() > self._no_image_after:
            return None
        self._patiently(self._breakers.jobs, lambda: renewer.take(index))
        if renewer.dropped:
            return None
        with log_context(image=index), trace.processing(index, len(data)):
            try:
                return self._process(lease, data)
            finally:
                renewer.release()

    def _process(self, lease: Lease, data: bytes) -> Outcome:
        try:
            if lease.phase is Phase.MEASURE:
                return Outcome(measured=self._pipeline.measure(data, lease.options))
            return Outcome(files=self._pipeline.render(data, lease.options, common=lease.range))
        except ImageError as exc:
            return _failed(exc)
        except SoftTimeLimitExceeded:
            return _failed(TimedOut(), try_again=True)
        except MemoryError:
            return _failed(OutOfMemory(), try_again=True)
        except Exception:
            # The image or this process may be at fault: other attempts follow before it is given up.
            logger.exception("An image failed unexpectedly.", extra={"action": "process_image"})
            return _failed(InternalImageError(), try_again=True)

    def _commit(
        self, lease: Lease, renewer: LeaseRenewer, trace: LeaseTrace, index: int, outcome: Outcome
    ) -> None:
        """Store the outputs or the reason, then record the end. A repeat writes the same bytes."""
        with log_context(job=lease.job_id, image=index):
            if outcome.measured is None:
                with trace.storing(index):
                    self._store(lease.job_id, index, outcome)
            state = self._patiently(self._breakers.jobs, lambda: self._record(lease, index, outcome))
            renewer.note_state(state)
        trace.end(index, outcome.failure, charged=outcome.try_again)

    def _store(self, job_id: str, index: int, outcome: Outcome) -> None:
        for file in outcome.files:
            key = object_keys.output(job_id, index, file.file_name)
            self._patiently(self._breakers.objects, partial(self._put, key, file))
        if outcome.failure is not None and not outcome.try_again:
            self._patiently(self._breakers.objects, partial(self._put_reason, job_id, index, outcome.failure))

    def _put(self, key: str, file: ResultFile) -> None:
        self._objects.put(key, file.data, content_type=file.content_type)

    def _put_reason(self, job_id: str, index: int, failure: ImageFailure) -> None:
        key = object_keys.failure(job_id, index)
        self._objects.put(key, encode_failure(failure), content_type="application/json")

    def _record(self, lease: Lease, index: int, outcome: Outcome) -> JobState | None:
        if outcome.measured is not None:
            return self._jobs.measured(lease, index, outcome.measured)
        if outcome.failure is not None and outcome.try_again:
            return self._jobs.charge(lease, index, outcome.failure)
        return self._jobs.done(lease, index, failure=outcome.failure)

    def _give_back(self, lease: Lease) -> None:
        try:
            self._jobs.give_back(lease.id)
        except STORE_ERRORS as exc:
            # The lease expires by itself, and the reaper then gives it back.
            logger.warning("A lease was not given back: %s", exc.message, extra={"action": "give_back"})

    def _patiently(self, breaker: Breaker, call: Callable[[], T]) -> T:
        return breaker.call(call, seconds=self._timeouts.patience, give_up=self._draining)


def _failed(error: ImageError, *, try_again: bool = False) -> Outcome:
    failure = ImageFailure(code=error.code, message=error.message)
    return Outcome(failure=failure, try_again=try_again)
