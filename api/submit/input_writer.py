"""Store the photos of a new job while they are being received."""

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
    """Numbers the photos of a new job and stores them; a few are written while the next is received.

    It closes each spool once that is stored. Use it in a `with` block: at its end nothing is being
    written any more, whatever went wrong.
    """

    def __init__(self, objects: ObjectStore, job_id: str, senders: Executor, *, max_images: int) -> None:
        self._objects = objects
        self._job_id = job_id
        self._senders = senders
        self._max_images = max_images
        self._sources: list[Source] = []
        self._putting: dict[Future[None], Spool] = {}
        #: Bytes of label pictures.
        self.label_bytes = 0

    def __enter__(self) -> InputWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for future in self._putting:
            future.cancel()
        wait(self._putting)
        for spool in self._putting.values():
            spool.close()

    @property
    def count(self) -> int:
        """The number of images so far, which is the index of the next."""
        return len(self._sources)

    def add(self, name: str, spool: Spool) -> None:
        """Store a photo as the next image; waits while too many are being written.

        Raises TooLarge beyond the images of a job, and what an earlier write raised.
        """
        index = self.reserve(name, spool.size)
        self._store(object_keys.input_image(self._job_id, index), spool)

    def reserve(self, name: str, size: int) -> int:
        """Number a photo that is stored later, and return its index. Raises TooLarge for one too many."""
        index = self.count
        if index >= self._max_images:
            raise TooLarge(f"A job holds at most {self._max_images} images.")
        self._sources.append(Source(index=index, name=clean_name(name), size=size))
        return index

    def add_labels(self, name: str, spool: Spool) -> None:
        """Store a label picture, whose photos may come later or not at all."""
        self.label_bytes += spool.size
        self._store(object_keys.labels(self._job_id, clean_name(name)), spool)

    def add_archive(self, first: int, spool: Spool) -> None:
        """Store an archive whose photos have the indices from `first` on."""
        self._store(object_keys.archive(self._job_id, first), spool)

    def finish(self) -> tuple[Source, ...]:
        """Wait until everything is stored, and return the photos. Raises what a write raised."""
        self._settle(wait(self._putting).done)
        return tuple(self._sources)

    def _store(self, key: str, spool: Spool) -> None:
        if len(self._putting) >= PUTS_AT_ONCE:
            self._settle(wait(self._putting, return_when=FIRST_COMPLETED).done)
        self._putting[self._senders.submit(self._put, key, spool.rewound())] = spool

    def _put(self, key: str, stream: BinaryIO) -> None:
        self._objects.put_stream(key, stream, content_type="application/octet-stream")

    def _settle(self, done: set[Future[None]]) -> None:
        for future in done:
            self._putting.pop(future).close()
        for future in done:
            future.result()
