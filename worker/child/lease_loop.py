"""The lease loop of a child: take a lease, then fetch, process, store and commit each of its images.

Transfers overlap with computing: while one image is processed, the next is fetched and the two before are
stored. That holds from one lease to the next too: the next is taken while the last image of a lease is
processed.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from shared.errors import FathomError, ImageError, InternalImageError, OutOfMemory, TimedOut
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, JobState, Lease, Phase, Range
from shared.jobstore.port import DEFAULT_MODELS, JobStore
from shared.networks import MIDAS_SMALL
from shared.objectstore.port import ObjectStore
from shared.observability.logs import log_context
from worker.child.fetch import Fetcher
from worker.child.lease_renewer import LeaseRenewer
from worker.child.model_turns import ModelTurns
from worker.child.prefetch import LARGE_BYTES as LARGE_IMAGE_BYTES
from worker.child.prefetch import Prefetcher
from worker.child.timing import DepthPipeline
from worker.child.tracing import LeaseTrace, Traces
from worker.pipeline.interruption import Interrupted
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


#: Images whose results are stored at once, while the next is processed. With a distant object store, the
#: requests of one image take longer than the next image does.
STORED_AT_ONCE = 2

#: Results of this size are stored before the next image begins: the floats of 200 megapixels have 800 MB.
LARGE_BYTES = 64 * 2**20


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


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldLease:
    """A lease with what keeps it: its renewer, its trace, and its images on the way."""

    lease: Lease
    renewer: LeaseRenewer
    trace: LeaseTrace
    #: Ends the trace, then the renewal.
    kept: ExitStack
    images: Iterator[tuple[int, Future[bytes]]]
    #: Images being stored.
    commits: list[Future[None]] = field(default_factory=list)


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
        models: Iterable[str] = DEFAULT_MODELS,
        load_model: Callable[[str], object] = lambda model: None,
    ) -> None:
        """Serve the networks `models`. `load_model` is called before each lease of a network."""
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
        self._turns = ModelTurns(models)
        self._load_model = load_model
        self._fetcher = fetcher
        #: The network of the latest lease.
        self.model = MIDAS_SMALL.name
        self._until = self._no_image_after = math.inf
        self._prefetcher = Prefetcher()
        self._leaser = ThreadPoolExecutor(1, thread_name_prefix="lease")
        self._storer = ThreadPoolExecutor(STORED_AT_ONCE, thread_name_prefix="store")
        #: The next lease, on the way or held.
        self._upcoming: Future[HeldLease | None] | None = None
        #: Leases that are not given back yet.
        self._held: list[HeldLease] = []
        #: Images being stored, the oldest first.
        self._storing: deque[Future[None]] = deque()
        #: Leases being given back, each after its last image is stored.
        self._closing: deque[Future[None]] = deque()

    def work(self, seconds: float) -> bool:
        """Work off leases until there is none; take no new one after `seconds`.

        No image begins once the grace is over too, so a lease of slow images is left unfinished.
        Return True if there may be more work. Raises Unavailable or ObjectStoreDenied when Redis or S3
        stays away for longer than the patience; no image is harmed then.
        """
        self._until = time.monotonic() + seconds
        self._no_image_after = self._until + self._timeouts.grace
        try:
            while not self._draining():
                held = self._collect_upcoming()
                if held is None:
                    if time.monotonic() >= self._until:
                        return True
                    held = self._take_lease()
                if held is None:
                    return False
                with log_context(job=held.lease.job_id):
                    self._work_off(held)
                if self._upcoming is not None:
                    self._patiently(self._breakers.jobs, held.renewer.put_down)
            return True
        finally:
            self._wind_up()

    def _wind_up(self) -> None:
        """Wait until all is stored, and give back every lease: a time limit may interrupt `work` anywhere."""
        try:
            self._collect_upcoming()
            self._settle()
        finally:
            for held in tuple(self._held):
                self._close(held)

    def _take_lease(self) -> HeldLease | None:
        # The last image of a lease may open a second pass, or come back to be tried again.
        self._settle()
        if self._breakers.objects.is_open:
            # A lease is of no use without the object store.
            self._patiently(self._breakers.objects, self._objects.ping)
        lease = self._patiently(self._breakers.jobs, self._lease)
        return None if lease is None else self._hold(lease)

    def _lease(self) -> Lease | None:
        """Take a lease. One at a time is on the way, so that the networks' turns need no lock."""
        lease = self._jobs.lease(self._name, limit=self._lease_images, models=self._turns.order())
        if lease is not None:
            self._turns.note(lease)
        return lease

    def _take_upcoming(self) -> None:
        """Begin to take the next lease, unless the time for new ones is over or a store is away."""
        is_away = self._breakers.objects.is_open or self._breakers.jobs.is_open
        if not is_away and not self._draining() and time.monotonic() < self._until:
            self._upcoming = self._leaser.submit(self._hold_next)

    def _hold_next(self) -> HeldLease | None:
        try:
            lease = self._breakers.jobs.call(self._lease)
        except STORE_ERRORS:
            # The loop takes one itself then, and waits for the store.
            return None
        return None if lease is None else self._hold(lease)

    def _collect_upcoming(self) -> HeldLease | None:
        held = None if self._upcoming is None else self._upcoming.result()
        self._upcoming = None
        return held

    def _hold(self, lease: Lease) -> HeldLease:
        """Renew a lease from now on, and begin to fetch its images."""
        renewer = LeaseRenewer(
            self._jobs,
            lease,
            lease_seconds=self._timeouts.lease,
            image_seconds=self._timeouts.image,
            breaker=self._breakers.jobs,
            heartbeat=self._heartbeat,
            draining=self._draining,
        )
        with ExitStack() as kept:
            kept.enter_context(renewer)
            trace = kept.enter_context(self._traces.follow(lease))
            images = self._prefetcher.images(lease, trace.fetching(self._fetcher.fetch))
            held = HeldLease(lease=lease, renewer=renewer, trace=trace, images=images, kept=kept.pop_all())
        self._held.append(held)
        return held

    def _work_off(self, held: HeldLease) -> None:
        self.model = held.lease.model
        try:
            if not self._can_serve(held.lease.model):
                return
            for index, fetching in held.images:
                outcome = self._outcome(held, index, fetching)
                _wait_for(self._storing, left=STORED_AT_ONCE - 1)
                if outcome is None:
                    break
                held.commits.append(self._storer.submit(self._commit, held, index, outcome))
                self._storing.append(held.commits[-1])
                if outcome.is_large:
                    _wait_for(self._storing)
                # This image's results must not stay in memory while the next image is processed.
                del outcome
        finally:
            held.renewer.release()
            # Whatever happened to this image, the ones before it are committed first.
            self._closing.append(self._leaser.submit(self._close, held))

    def _can_serve(self, model: str) -> bool:
        """Load a lease's network before an image is in hand. What cannot be loaded is not served any more."""
        try:
            self._load_model(model)
        except FathomError as exc:
            logger.error("No longer serving %s: %s", model, exc.message, extra={"action": "load_model"})
            self._turns.drop(model)
            return False
        return True

    def _settle(self) -> None:
        """Wait until all is stored and given back. Raises the first error of storing."""
        try:
            _wait_for(self._storing)
        finally:
            _wait_for(self._closing)

    def _close(self, held: HeldLease) -> None:
        """Give a lease back once its images are stored."""
        wait(held.commits)
        try:
            with held.kept, log_context(job=held.lease.job_id):
                self._give_back(held.lease)
        finally:
            self._held.remove(held)

    def _outcome(self, held: HeldLease, index: int, fetching: Future[bytes]) -> Outcome | None:
        """Return how an image ended; None if the rest of the lease is to be dropped."""
        renewer = held.renewer
        try:
            data = fetching.result()
            # Before the image is in hand: a store that is away is not its fault.
            labels = self._fetch_labels(held.lease, index)
        except ImageError as exc:
            # A fetch that stopped because this child stops says nothing about its image.
            return None if self._draining() else _failed(exc, try_again=exc.transient)
        if self._draining() or renewer.dropped or time.monotonic() > self._no_image_after:
            return None
        self._patiently(self._breakers.jobs, lambda: renewer.take(index))
        if renewer.dropped:
            return None
        # A large image is held alone, as within a lease.
        if index == held.lease.indices[-1] and len(data) <= LARGE_IMAGE_BYTES:
            self._take_upcoming()
        with log_context(image=index), held.trace.processing(index, len(data)):
            try:
                return self._process(held, data, labels)
            finally:
                renewer.release()

    def _fetch_labels(self, lease: Lease, index: int) -> bytes | None:
        if lease.phase is Phase.MEASURE or not lease.options.need_labels:
            return None
        return self._fetcher.fetch_labels(lease.job_id, index)

    def _process(self, held: HeldLease, data: bytes, labels: bytes | None) -> Outcome | None:
        lease = held.lease
        try:
            if lease.phase is Phase.MEASURE:
                return Outcome(measured=self._pipeline.measure(data, lease.options))
            files = self._pipeline.render(
                data,
                lease.options,
                common=lease.range,
                labels=labels,
                is_unwanted=held.renewer.is_unwanted,
            )
            return Outcome(files=files)
        except Interrupted:
            return None
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

    def _commit(self, held: HeldLease, index: int, outcome: Outcome) -> None:
        """Store the outputs or the reason, then record the end. A repeat writes the same bytes."""
        lease, trace = held.lease, held.trace
        with log_context(job=lease.job_id, image=index):
            if outcome.measured is None:
                with trace.storing(index):
                    self._store(lease.job_id, index, outcome)
            state = self._patiently(self._breakers.jobs, lambda: self._record(lease, index, outcome))
            held.renewer.note_state(state)
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


def _wait_for(futures: deque[Future[None]], *, left: int = 0) -> None:
    """Wait until so many are left. Raises the first error of those that ended, after all of them."""
    errors = []
    while len(futures) > left:
        error = futures.popleft().exception()
        errors += [] if error is None else [error]
    if errors:
        raise errors[0]


def _failed(error: ImageError, *, try_again: bool = False) -> Outcome:
    failure = ImageFailure(code=error.code, message=error.message)
    return Outcome(failure=failure, try_again=try_again)
