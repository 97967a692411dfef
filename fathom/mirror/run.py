"""Sending an album so that nothing is sent twice, and fetching what is done while the rest is under way.

A large album goes as several jobs of bounded size: the first of them is worked on, and its results
are fetched, while the others are still being uploaded. What was done is in the index beside the
results (`fathom.mirror.index`), so a run that was interrupted, however hard, is gone on with by the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from fathom.files import NotWritten, inside
from fathom.mirror.index import AlbumIndex, IndexFull, Photo
from fathom.mirror.plan import GONE, Order, Planner, Wish
from fathom.mirror.report import Account, RunListener, Tally
from fathom.models import ImageResult, JobStatus
from fathom.parallel import map_unordered
from fathom.sync_client import WAIT_PATIENCE, Fathom, JobHandle
from fathom.transport import ApiError, ClientError, ConnectionLost
from fathom.uploads import create_upload_job, upload_missing

T = TypeVar("T")

#: Results fetched at once.
THREADS = 8
#: Seconds between two looks at the jobs under way; of many, each takes its share more.
POLL, _POLL_EACH = 0.5, 0.1
#: Answers that say "not now", for longer than a single request has patience.
_LATER = frozenset({429, 503})
#: Seconds that the sender gets to end when the run does.
_GRACE = 2.0


class JobGone(ClientError):
    """The server has forgotten a job in the middle of it."""


class _Stopped(Exception):
    """The run is over: no more bytes are to be sent."""


class _Forgotten(Exception):
    """What a batch once became is gone from the server: it must become another job."""


@dataclass(kw_only=True)
class _Running:
    """A job under way, and which of its images have been dealt with."""

    job: JobHandle
    order: Order
    settled: set[int]
    #: Images known to have succeeded; there is nothing to list until there are more.
    seen: int = 0
    #: Whether all that was fetched could be written.
    is_written: bool = True


class AlbumRun:
    """One run over an album."""

    def __init__(
        self,
        fathom: Fathom,
        index: AlbumIndex,
        wish: Wish,
        *,
        listener: RunListener | None = None,
        poll: float = POLL,
    ) -> None:
        self._poll = poll
        self._fathom = fathom
        self._index = index
        self._wish = wish
        self._listener = listener or RunListener()
        self._account = Account(
            total=len(wish.files) + len(wish.refused), new_failures=list(wish.refused), skipped=wish.skipped
        )
        self._planner = Planner(fathom, index, wish, self._account)
        self._bytes = Tally()
        self._images = Tally()
        self._started: SimpleQueue[_Running] = SimpleQueue()
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._trouble: BaseException | None = None

    def run(self) -> Account:
        """Bring the results of all photos, and return what came of it.

        Raises ClientError; what was done until then stays, and the next run goes on from there.
        """
        orders = self._planner.plan()
        self._bytes.total = sum(order.size for order in orders)
        self._images.total = sum(len(order.waiting) for order in orders)
        self._listener.planned(self._bytes.total, self._images.total)
        sender = threading.Thread(target=self._send_all, args=(orders,), name="album-sender", daemon=True)
        sender.start()
        try:
            self._fetch_all(sender)
        finally:
            self._stop.set()
            # It ends with the next bytes it would send; on a server that hangs it is not waited for.
            sender.join(_GRACE)
        if self._trouble is not None:
            raise self._trouble
        return self._account

    # --- sending, in a thread of its own ---

    def _send_all(self, orders: Iterable[Order]) -> None:
        try:
            for order in orders:
                self._bytes.begin(order.size)
                running = self._start_job(order)
                self._patiently(partial(self._upload, running))
                self._started.put(running)
                self._bytes.complete()
                self._listener.sent(self._bytes.done, self._bytes.total)
        except _Stopped:
            return
        except BaseException as exc:
            self._trouble = exc

    def _start_job(self, order: Order) -> _Running:
        try:
            return self._patiently(partial(self._begin, order))
        except _Forgotten:
            self._index.close_batch(order.batch)
        again = self._planner.open([photo for photo in order.photos if photo])
        return self._patiently(partial(self._begin, again))

    def _begin(self, order: Order) -> _Running:
        """Return a batch's job, made now unless an earlier try made it. Raises _Forgotten."""
        job = self._planner.find_job(order.batch)
        if job is None and not order.is_whole:
            # The indexes of a new job would not be those of this batch.
            raise _Forgotten
        if job is None:
            job = self._announce(order)
            order = replace(order, batch=replace(order.batch, job=job.id))
        return _Running(job=job, order=order, settled=set(order.settled))

    def _announce(self, order: Order) -> JobHandle:
        transport, options, token = self._fathom.transport, self._wish.options, order.batch.token
        try:
            answer = create_upload_job(transport, order.files, options, token=token)
        except ApiError as exc:
            if exc.status in GONE or exc.code == "idempotency_key_reused":
                raise _Forgotten from exc
            raise
        # Without a note of it, the batch's token leads to the same job.
        with suppress(IndexFull):
            self._index.accept(order.batch, answer["id"])
        return self._fathom.handle(answer)

    def _upload(self, running: _Running) -> None:
        """Upload what the server does not have yet of a job."""
        if running.job.status.state == "uploading":
            upload_missing(self._fathom.transport, running.job.id, None, running.order.files, self._on_bytes)

    def _on_bytes(self, count: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        with self._turn:
            self._bytes.part += count
        self._listener.sent(self._bytes.done, self._bytes.total)

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
        """Fetch what has become ready of a job; returns True once it has ended and all is here."""
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
        self._index.close_batch(running.order.batch)
        raise JobGone(f"The server has forgotten job {running.job.id}; run again to send its photos anew.")

    def _fetch_new(self, running: _Running) -> None:
        ready = [image for image in running.job.images("succeeded") if image.index not in running.settled]
        for index, error in map_unordered(partial(self._fetch, running), ready, threads=THREADS):
            running.settled.add(index)
            photo = running.order.photos[index]
            if photo is not None:
                self._take(running, index, photo, error)
                self._settle_one()

    def _take(self, running: _Running, index: int, photo: Photo, error: NotWritten | None) -> None:
        """Note that a photo's results are here, or why they cannot be."""
        files = self._planner.paths[photo.key]
        try:
            if error is not None:
                raise error
            self._index.keep(photo, files=files)
        except (NotWritten, IndexFull) as exc:
            running.is_written = False
            failure = ImageResult.failure(photo.file.name, exc.code, str(exc), index=index)
            self._account.new_failures.append(failure)
        else:
            self._account.fetched += 1
            self._account.files += len(files)

    def _fetch(self, running: _Running, image: ImageResult) -> tuple[int, NotWritten | None]:
        """Fetch an image's results; returns its index, and why one of them cannot be written."""
        photo = running.order.photos[image.index]
        wanted = self._planner.paths[photo.key] if photo else {}
        try:
            for output, path in wanted.items():
                # What lies there, of the same size even, may be another photo's or of other options.
                running.job.save(image.outputs[output], inside(self._wish.out, path), replace=True)
        except NotWritten as exc:
            return image.index, exc
        return image.index, None

    def _settle_rest(self, running: _Running, status: JobStatus) -> None:
        """Note what an ended job did not bring, and be done with it."""
        for image in running.job.images("failed"):
            photo = running.order.photos[image.index]
            if photo is not None and image.index not in running.settled:
                code, message = image.error_code or "", image.error_message or ""
                # Without a note of it, it is learnt again by the next run.
                with suppress(IndexFull):
                    self._index.keep_failure(photo, code=code, message=message)
                failure = ImageResult.failure(photo.file.name, code, message, index=image.index)
                self._account.new_failures.append(failure)
                self._settle_one()
        if status.state == "canceled":
            self._account.canceled += status.pending
        self._account.jobs.append(status)
        if running.is_written:
            self._index.close_batch(running.order.batch)

    def _settle_one(self) -> None:
        self._images.whole += 1
        self._listener.settled(self._images.done, self._images.total)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call again while the server is away or takes no more, for up to ten minutes."""
        deadline = time.monotonic() + WAIT_PATIENCE
        while True:
            try:
                return call()
            except (ConnectionLost, ApiError) as exc:
                lasting = isinstance(exc, ApiError) and exc.status not in _LATER
                if lasting or time.monotonic() >= deadline:
                    raise
                self._listener.lost(exc)
            if self._stop.wait(self._poll):
                raise _Stopped
