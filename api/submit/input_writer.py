"""Storing the photos of a new job while they are being received."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import BinaryIO

from api.schema.clean_name import clean_name
from api.submit.spool import Spool
from shared.errors import TooLarge
from shared.jobs import object_keys
from shared.jobs.job import Source
from shared.objectstore.port import ObjectStore

#: Photos of one request written to the object store at once.
PUTS_AT_ONCE = 4


class InputWriter:
    """Gives photos their indices and stores them; a few are being put while the next is received.

    Use it as a context manager: on leaving, nothing is being written any more.
    """

    def __init__(self, objects: ObjectStore, job_id: str, senders: Executor, *, max_images: int) -> None:
        self._objects = objects
        self._job_id = job_id
        self._senders = senders
        self._max_images = max_images
        self._sources: list[Source] = []
        self._putting: dict[Future[None], Spool] = {}

    def __enter__(self) -> InputWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for future in self._putting:
            future.cancel()
        wait(self._putting)
        for spool in self._putting.values():
            spool.close()

    def add(self, name: str, spool: Spool) -> None:
        """Store a photo as the next image; waits while as many as allowed are being put.

        The spool is closed here. Raises TooLarge beyond the images of a job, and
        whatever an earlier put raised.
        """
        try:
            self._make_room()
        except BaseException:
            spool.close()
            raise
        index = len(self._sources)
        self._sources.append(Source(index=index, name=clean_name(name), size=spool.size))
        key = object_keys.input_image(self._job_id, index)
        self._putting[self._senders.submit(self._put, key, spool.rewound())] = spool

    @property
    def count(self) -> int:
        """Images so far; the next one's index."""
        return len(self._sources)

    def reserve(self, name: str, size: int) -> None:
        """Give a photo its index that will be stored later. Raises TooLarge beyond the images of a job."""
        if self.count >= self._max_images:
            raise TooLarge(f"A job holds at most {self._max_images} images.")
        self._sources.append(Source(index=self.count, name=clean_name(name), size=size))

    def keep_archive(self, first: int, spool: Spool) -> None:
        """Store an archive whose photos have indices from `first` on; the spool is closed here."""
        try:
            self._wait_for_a_sender()
        except BaseException:
            spool.close()
            raise
        key = object_keys.archive(self._job_id, first)
        self._putting[self._senders.submit(self._put, key, spool.rewound())] = spool

    def finish(self) -> tuple[Source, ...]:
        """Wait until all is stored, and return what was; raises what a put raised."""
        self._settle(wait(self._putting).done)
        return tuple(self._sources)

    def _make_room(self) -> None:
        if len(self._sources) >= self._max_images:
            raise TooLarge(f"A job holds at most {self._max_images} images.")
        self._wait_for_a_sender()

    def _wait_for_a_sender(self) -> None:
        if len(self._putting) >= PUTS_AT_ONCE:
            self._settle(wait(self._putting, return_when=FIRST_COMPLETED).done)

    def _put(self, key: str, stream: BinaryIO) -> None:
        self._objects.put_stream(key, stream, content_type="application/octet-stream")

    def _settle(self, done: set[Future[None]]) -> None:
        for future in done:
            self._putting.pop(future).close()
        for future in done:
            future.result()
