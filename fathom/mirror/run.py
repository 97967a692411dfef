"""Mirror an album: send each photo once, and fetch results while other photos are still being sent.

A large album becomes several jobs of bounded size. The first is processed, and its results are fetched, while
the others are still uploading. The index beside the results (`fathom.mirror.index`) records what is done, so
the next run continues one that was interrupted, even killed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from fathom.async_client import WAIT_PATIENCE
from fathom.downloads import fetch_all
from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.files import NotWritten
from fathom.mirror.index import IndexFull, LocalPhoto, MirrorIndex
from fathom.mirror.plan import GONE, MirrorRequest, PlannedBatch, Planner
from fathom.mirror.report import MirrorProgress, MirrorReport, Tally
from fathom.models import ImageResult, JobStatus
from fathom.sync_client import Fathom, JobHandle

T = TypeVar("T")

#: Seconds between two looks at the jobs under way, and for each job more.
POLL, _POLL_EACH = 0.5, 0.1
#: Answers that say "not now", for longer than a single request has patience.
_LATER = frozenset({429, 503})
#: Seconds to wait for the sending thread when the run ends.
_GRACE = 2.0


class JobGone(ClientError):
    """The server has forgotten a job before it ended."""


class _Stopped(Exception):
    """The run is over: no more bytes are to be sent."""


class _Forgotten(Exception):
    """The server has forgotten the job of a batch, which needs a new one."""


@dataclass(kw_only=True)
class _Running:
    """A job under way, and which of its images have been dealt with."""

    job: JobHandle
    planned: PlannedBatch
    settled: set[int]
    #: Images known to have succeeded; there is nothing to list until there are more.
    seen: int = 0
    #: Whether all that was fetched could be written.
    is_written: bool = True


class MirrorRun:
    """One run over an album."""

    def __init__(
        self,
        fathom: Fathom,
        index: MirrorIndex,
        request: MirrorRequest,
        *,
        progress: MirrorProgress | None = None,
        poll: float = POLL,
    ) -> None:
        self._poll = poll
        self._fathom = fathom
        self._index = index
        self._request = request
        self._progress = progress or MirrorProgress()
        self._report = MirrorReport(
            total=len(request.album.files) + len(request.album.refused),
            new_failures=list(request.album.refused),
            skipped=request.album.skipped,
        )
        self._planner = Planner(fathom, index, request, self._report)
        self._bytes = Tally()
        self._images = Tally()
        self._started: SimpleQueue[_Running] = SimpleQueue()
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._trouble: BaseException | None = None

    def run(self) -> MirrorReport:
        """Fetch the results of all photos, and return the report.

        Raises ClientError; what was done by then stays, and the next run continues from there.
        """
        batches = self._planner.plan()
        self._bytes.total = sum(planned.size for planned in batches)
        self._images.total = sum(len(planned.waiting) for planned in batches)
        self._progress.planned(self._bytes.total, self._images.total)
        sender = threading.Thread(target=self._send_all, args=(batches,), name="mirror-sender", daemon=True)
        sender.start()
        try:
            self._fetch_all(sender)
        finally:
            self._stop.set()
            # It stops before it sends more bytes. If the server hangs, do not wait for it.
            sender.join(_GRACE)
        if self._trouble is not None:
            raise self._trouble
        return self._report

    # --- sending, in a thread of its own ---

    def _send_all(self, batches: Iterable[PlannedBatch]) -> None:
        try:
            for planned in batches:
                self._bytes.begin(planned.size)
                running = self._start_job(planned)
                self._patiently(partial(self._upload, running))
                self._started.put(running)
                self._bytes.complete()
                self._progress.sent(self._bytes.done, self._bytes.total)
        except _Stopped:
            return
        except BaseException as exc:
            self._trouble = exc

    def _start_job(self, planned: PlannedBatch) -> _Running:
        try:
            return self._patiently(partial(self._begin, planned))
        except _Forgotten:
            self._index.close_batch(planned.batch)
        again = self._planner.open([photo for photo in planned.photos if photo])
        return self._patiently(partial(self._begin, again))

    def _begin(self, planned: PlannedBatch) -> _Running:
        """Return a batch's job, made now unless an earlier try made it. Raises _Forgotten."""
        job = self._planner.find_job(planned.batch)
        if job is None and not planned.is_whole:
            # The images of a new job would not have the indexes of this batch.
            raise _Forgotten
        if job is None:
            job = self._announce(planned)
            planned = replace(planned, batch=replace(planned.batch, job=job.id))
        return _Running(job=job, planned=planned, settled=set(planned.settled))

    def _announce(self, planned: PlannedBatch) -> JobHandle:
        try:
            job = self._fathom.announce(planned.files, self._request.options, token=planned.batch.token)
        except ApiError as exc:
            if exc.status in GONE or exc.code == "idempotency_key_reused":
                raise _Forgotten from exc
            raise
        # If this is not recorded, the batch's token still leads to the same job.
        with suppress(IndexFull):
            self._index.accept(planned.batch, job.id)
        return job

    def _upload(self, running: _Running) -> None:
        """Upload what the server does not have yet of a job."""
        if running.job.status.state == "uploading":
            running.job.upload(running.planned.files, self._on_bytes)

    def _on_bytes(self, count: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        with self._turn:
            self._bytes.part += count
        self._progress.sent(self._bytes.done, self._bytes.total)

    # --- fetching ---

    def _fetch_all(self, sender: threading.Thread) -> None:
        running: list[_Running] = []
        while self._trouble is None and (sender.is_alive() or running or not self._started.empty()):
            running += self._newly_started()
            running = [item for item in running if not self._patiently(partial(self._advance, item))]
            if sender.is_alive() or running:
                self._stop.wait(max(self._poll, _POLL_EACH * (len(running) - 1)))

    def _newly_started(self) -> Iterator[_Running]:
        with suppress(Empty):
            while True:
                yield self._started.get_nowait()

    def _advance(self, running: _Running) -> bool:
        """Fetch the new results of a job; return True once it has ended and all are here."""
        status = self._refresh(running)
        if status.succeeded > running.seen:
            self._fetch_new(running)
            running.seen = status.succeeded
        if not status.ended:
            return False
        self._settle_rest(running, status)
        return True

    def _refresh(self, running: _Running) -> JobStatus:
        try:
            status = running.job.refresh()
        except ApiError as exc:
            if exc.status not in GONE:
                raise
        else:
            if status.state != "expired":
                return status
        self._index.close_batch(running.planned.batch)
        raise JobGone(f"The server has forgotten job {running.job.id}; run again to send its photos anew.")

    def _fetch_new(self, running: _Running) -> None:
        ready = [
            (image, self._paths(running.planned.photos[image.index]))
            for image in running.job.images("succeeded")
            if image.index not in running.settled
        ]
        # A file of the same size may be the result of another photo, or of other options.
        for (image, _), errors in fetch_all(running.job, ready, self._request.out, replace=True):
            running.settled.add(image.index)
            photo = running.planned.photos[image.index]
            if photo is not None:
                self._take(running, image.index, photo, errors)
                self._settle_one()

    def _paths(self, photo: LocalPhoto | None) -> Mapping[str, str]:
        return self._planner.paths[photo.key] if photo else {}

    def _take(self, running: _Running, index: int, photo: LocalPhoto, errors: Sequence[NotWritten]) -> None:
        """Record that a photo's results are here, or why they cannot be."""
        files = self._paths(photo)
        try:
            if errors:
                raise errors[0]
            self._index.keep(photo, files=files)
        except (NotWritten, IndexFull) as exc:
            running.is_written = False
            failure = ImageResult.failure(photo.file.name, exc.code, str(exc), index=index)
            self._report.new_failures.append(failure)
        else:
            self._report.fetched += 1
            self._report.files += len(files)

    def _settle_rest(self, running: _Running, status: JobStatus) -> None:
        """Record the failures of a job that has ended, and close its batch."""
        for image in running.job.images("failed"):
            photo = running.planned.photos[image.index]
            if photo is not None and image.index not in running.settled:
                code, message = image.error_code or "", image.error_message or ""
                # If this is not recorded, the next run learns it again.
                with suppress(IndexFull):
                    self._index.keep_failure(photo, code=code, message=message)
                failure = ImageResult.failure(photo.file.name, code, message, index=image.index)
                self._report.new_failures.append(failure)
                self._settle_one()
        if status.state == "canceled":
            self._report.canceled += status.pending
        self._report.jobs.append(status)
        if running.is_written:
            self._index.close_batch(running.planned.batch)

    def _settle_one(self) -> None:
        self._images.whole += 1
        self._progress.settled(self._images.done, self._images.total)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call while the server is away or takes no more, for up to ten minutes."""
        deadline = time.monotonic() + WAIT_PATIENCE
        while True:
            try:
                return call()
            except (ConnectionLost, ApiError) as exc:
                lasting = isinstance(exc, ApiError) and exc.status not in _LATER
                if lasting or time.monotonic() >= deadline:
                    raise
                self._progress.lost(exc)
            if self._stop.wait(self._poll):
                raise _Stopped
