"""Expanding the archives of a job into its inputs.

What an archive holds is known already: the API looked at its directory and wrote the manifest. An
archive's object is named after the index of its first photo, so that every photo has its place,
and what was stored before a death in the middle need not be stored again. A photo that cannot be read
becomes an image that fails: in place of its input, the reason is stored.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from shared import layout
from shared.archives import ArchivedPhoto, ArchiveLimits, expand
from shared.chores import Chore
from shared.errors import ImageError
from shared.jobs import ImageFailure, Job
from shared.ports import ObjectStore
from worker.chores.gathering import Gathering
from worker.chores.object_file import open_object
from worker.chores.runner import Check, Done, Later
from worker.evidence import encode_failure

#: Photos stored at once, and the bytes of each that wait in memory; what is more waits on disk.
_PUTS_AT_ONCE = 4
_IN_MEMORY = 2**20
#: Seconds after which an archive makes way for others that wait, to be gone on with later.
TURN = 20.0
#: Stands for the size of a photo that cannot be read, whose reason is stored.
_UNREADABLE = -1


class _TurnOver(Exception):
    """Others wait for their turn; what is left is done at the next."""


class ExpandArchives:
    """Handles chores of the kind `expand`."""

    def __init__(
        self,
        gathering: Gathering,
        objects: ObjectStore,
        limits: ArchiveLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gathering = gathering
        self._objects = objects
        self._limits = limits
        self._clock = clock

    def do(self, chore: Chore, check: Check) -> Done | Later:
        try:
            return self._gathering.run(chore, check, self._expand_all)
        except _TurnOver:
            return Later(seconds=0)

    def give_up(self, chore: Chore) -> None:
        self._gathering.give_up(chore)

    def _expand_all(self, job: Job, check: Check) -> int:
        until = self._clock() + TURN
        stored = _stored_sizes(self._objects, job.id)
        with ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="expand") as senders:
            puts = _Puts(self._objects, senders)
            for index, photo in self._photos(job.id):
                if stored.get(index) in (photo.size, _UNREADABLE):
                    continue
                check()
                puts.put(*self._to_store(job.id, index, photo, check))
                if self._clock() > until:
                    puts.finish()
                    raise _TurnOver
            puts.finish()
        return job.counts.total

    def _photos(self, job_id: str) -> Iterator[tuple[int, ArchivedPhoto]]:
        """Yield the photos of all archives of a job, each with its index."""
        for first, key in sorted(_archives(self._objects, job_id)):
            entries = expand(open_object(self._objects, key), self._limits)
            photos = (entry for entry in entries if isinstance(entry, ArchivedPhoto))
            yield from enumerate(photos, first)

    def _to_store(self, job_id: str, index: int, photo: ArchivedPhoto, check: Check) -> tuple[str, BinaryIO]:
        """Return a photo as a file, or else the reason why it cannot be read, and the key it belongs to."""
        try:
            return layout.input_image(job_id, index), self._spool(photo, check)
        except ImageError as exc:
            reason = encode_failure(ImageFailure(code=exc.code, message=exc.message))
            return layout.unreadable(job_id, index), io.BytesIO(reason)

    def _spool(self, photo: ArchivedPhoto, check: Check) -> BinaryIO:
        """Return a photo as a file. Raises the ImageError of one that cannot be read."""
        spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (closed when it is stored)
        try:
            for piece in photo.pieces:
                check()
                spool.write(piece)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return cast(BinaryIO, spool)


class _Puts:
    """A few photos being stored while the next ones are expanded."""

    def __init__(self, objects: ObjectStore, senders: ThreadPoolExecutor) -> None:
        self._objects = objects
        self._senders = senders
        self._putting: set[Future[None]] = set()

    def put(self, key: str, file: BinaryIO) -> None:
        """Store a file, which is closed then; raises what an earlier put raised."""
        self._putting.add(self._senders.submit(self._put, key, file))
        if len(self._putting) >= _PUTS_AT_ONCE:
            done, self._putting = wait(self._putting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    def finish(self) -> None:
        """Wait until all is stored."""
        for future in self._putting:
            future.result()

    def _put(self, key: str, file: BinaryIO) -> None:
        with file:
            self._objects.put_stream(key, file)


def _stored_sizes(objects: ObjectStore, job_id: str) -> dict[int, int]:
    """Return what was stored at earlier turns, by index: an input is stored whole or not at all."""
    inputs, reasons = layout.inputs_prefix(job_id), layout.unreadable_prefix(job_id)
    sizes = {int(entry.key.removeprefix(inputs)): entry.size for entry in objects.list(inputs)}
    unreadable = (entry.key.removeprefix(reasons) for entry in objects.list(reasons))
    return sizes | {int(name.removesuffix(".json")): _UNREADABLE for name in unreadable}


def _archives(objects: ObjectStore, job_id: str) -> Iterator[tuple[int, str]]:
    prefix = layout.archives_prefix(job_id)
    for entry in objects.list(prefix):
        yield int(entry.key.removeprefix(prefix).removesuffix(".zip")), entry.key
