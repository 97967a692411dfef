"""A child's work: take a lease, and for each of its images fetch, process, store, commit.

The transfers are hidden behind the computing: while one image is in work the next
ones are being fetched and the one before is being stored, a bounded number of each.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from fathom.options import Options
from shared.errors import ImageError, InternalImageError, OutOfMemory, TimedOut
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, JobState, Lease, Phase, Range
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context
from worker.child.fetch import Fetcher
from worker.child.lease_renewer import LeaseKeeper
from worker.child.prefetch import Lookahead
from worker.child.tracing import LeaseTrace, Traces
from worker.supervision.breaker import INFRASTRUCTURE, Breaker, Breakers
from worker.supervision.heartbeat import Station

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ResultFile(Protocol):
    """A file of results, as the pipeline makes it."""

    @property
    def file_name(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class DepthPipeline(Protocol):
    """What the work needs of the pipeline; `worker.pipeline.pipeline.Pipeline` is it."""

    def measure(self, data: bytes, options: Options) -> Range: ...

    def render(
        self, data: bytes, options: Options, *, common: Range | None = None
    ) -> tuple[ResultFile, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things may take, in seconds."""

    #: A lease not renewed for this long is taken back.
    lease: float
    #: One image in work.
    image: float
    #: Waiting for Redis or S3 to come back before a lease is given up.
    patience: float = 30.0
    #: Beyond a shift, while the images of its last lease may still begin.
    overtime: float = 5.0


#: Results of one image that are not held beside the next: the floats of 200 megapixels have 800 MB.
LARGE_BYTES = 128 * 2**20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image: files, a range, a failure, or an attempt to be charged."""

    files: tuple[ResultFile, ...] = ()
    measured: Range | None = None
    failure: ImageFailure | None = None
    #: The failure may not be the image's own: charge an attempt and try again.
    try_again: bool = False

    @property
    def is_large(self) -> bool:
        return sum(len(file.data) for file in self.files) > LARGE_BYTES


class Child:
    """Works off leases, one after another; one to a process."""

    def __init__(
        self,
        *,
        name: str,
        jobs: JobStore,
        objects: ObjectStore,
        pipeline: DepthPipeline,
        pace: Pace,
        lease_images: int,
        max_image_bytes: int,
        draining: Callable[[], bool] = lambda: False,
        breakers: Breakers | None = None,
        station: Station | None = None,
        images: Fetcher | None = None,
        traces: Traces | None = None,
    ) -> None:
        """Take the parts; without `images`, images are read from the jobs' own inputs alone."""
        self._name = name
        self._jobs = jobs
        self._objects = objects
        self._pipeline = pipeline
        self._pace = pace
        self._lease_images = lease_images
        self._draining = draining
        self._breakers = breakers or Breakers()
        self._station = station or Station()
        self._traces = traces or Traces()
        # One byte more than is accepted shows the pipeline that there is too much, whatever the size.
        self._images = images or Fetcher(
            objects, most_bytes=max_image_bytes + 1, call_store=self._call_objects, give_up=draining
        )
        self._last_call = math.inf
        self._ahead = Lookahead(self._images.fetch)
        self._storer = ThreadPoolExecutor(1, thread_name_prefix="store")

    def work(self, seconds: float) -> bool:
        """Work off leases until none is to be had; begin no new one after `seconds`.

        A lease whose images take long is not worked to its end: after the overtime no new
        image begins. Returns True if there may be more. Raises Unavailable or ObjectStoreDenied
        when Redis or S3 stayed away for longer than the patience; no image is harmed then.
        """
        until = time.monotonic() + seconds
        while not self._draining():
            if time.monotonic() >= until:
                return True
            lease = self._take_lease()
            if lease is None:
                return False
            self._last_call = until + self._pace.overtime
            with log_context(job=lease.job_id):
                self._work_off(lease)
        return True

    def _take_lease(self) -> Lease | None:
        if self._breakers.objects.is_open:
            # Without the object store nothing could be done with a lease.
            self._patiently(self._breakers.objects, self._objects.ping)
        return self._patiently(
            self._breakers.jobs, lambda: self._jobs.lease(self._name, limit=self._lease_images)
        )

    def _work_off(self, lease: Lease) -> None:
        keeper = LeaseKeeper(
            self._jobs,
            lease,
            lease_seconds=self._pace.lease,
            image_seconds=self._pace.image,
            breakers=self._breakers,
            station=self._station,
            draining=self._draining,
        )
        with keeper, self._traces.follow(lease) as trace:
            try:
                self._work_through(lease, keeper, trace)
            finally:
                self._give_back(lease)

    def _work_through(self, lease: Lease, keeper: LeaseKeeper, trace: LeaseTrace) -> None:
        storing: Future[None] | None = None
        try:
            for index, fetching in self._ahead.images(lease, trace.fetching(self._images.fetch)):
                outcome = self._outcome(lease, keeper, trace, index, fetching)
                if storing is not None:
                    storing.result()
                if outcome is None:
                    break
                storing = self._storer.submit(self._commit, lease, keeper, trace, index, outcome)
                if outcome.is_large:
                    storing.result()
                # While the next image is in work, this one's results must not be held as well.
                del outcome
        finally:
            # Whatever happened to this image, the one before it is committed if it can be.
            keeper.release()
            if storing is not None:
                storing.result()

    def _call_objects(self, call: Callable[[], T], /) -> T:
        return self._patiently(self._breakers.objects, call)

    def _outcome(
        self, lease: Lease, keeper: LeaseKeeper, trace: LeaseTrace, index: int, fetching: Future[bytes]
    ) -> Outcome | None:
        """Return what became of an image; None if the lease is to be dropped instead."""
        try:
            data = fetching.result()
        except ImageError as exc:
            # A fetch that was broken off because this child is to stop says nothing about its image.
            return None if self._draining() else _failed(exc, try_again=exc.transient)
        if self._draining() or keeper.dropped or time.monotonic() > self._last_call:
            return None
        self._patiently(self._breakers.jobs, lambda: keeper.take(index))
        if keeper.dropped:
            return None
        with log_context(image=index), trace.processing(index, len(data)):
            try:
                return self._process(lease, data)
            finally:
                keeper.release()

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
            # It may be the image's fault or this process's: others try it before it is given up.
            logger.exception("An image failed unexpectedly.", extra={"action": "process_image"})
            return _failed(InternalImageError(), try_again=True)

    def _commit(
        self, lease: Lease, keeper: LeaseKeeper, trace: LeaseTrace, index: int, outcome: Outcome
    ) -> None:
        """Store the outputs or the reason, then record the end: a repeat writes the same bytes again."""
        with log_context(job=lease.job_id, image=index):
            if outcome.measured is None:
                with trace.storing(index):
                    self._store(lease.job_id, index, outcome)
            keeper.heed(self._patiently(self._breakers.jobs, lambda: self._record(lease, index, outcome)))
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
            self._jobs.give_back(lease)
        except INFRASTRUCTURE as exc:
            # The lease expires by itself, and the reaper does the same a little later.
            logger.warning("A lease was not given back: %s", exc.message, extra={"action": "give_back"})

    def _patiently(self, breaker: Breaker, call: Callable[[], T]) -> T:
        return breaker.call(call, seconds=self._pace.patience, give_up=self._draining)


def _failed(error: ImageError, *, try_again: bool = False) -> Outcome:
    failure = ImageFailure(code=error.code, message=error.message)
    return Outcome(failure=failure, try_again=try_again)
