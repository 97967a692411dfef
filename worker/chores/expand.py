"""Expanding the archives of a job into its inputs.

What an archive holds is known already: the API looked at its directory and wrote the manifest. An
archive's object is named after the index of its first photo, so that every photo has its place,
and what was stored before a death in the middle need not be stored again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from shared import layout
from shared.archives import ArchivedPhoto, ArchiveLimits, expand
from shared.chores import Chore
from shared.jobs import Job
from shared.ports import ObjectStore
from worker.chores.gathering import Gathering
from worker.chores.object_file import open_object
from worker.chores.runner import Check, Done, Later

#: Photos stored at once, and the bytes of each that wait in memory; what is more waits on disk.
_PUTS_AT_ONCE = 4
_IN_MEMORY = 2**20
#: Seconds after which an archive makes way for others that wait, to be gone on with later.
TURN = 20.0


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
        #: Of a photo that is too large, one byte too many fails it alone.
        self._most_bytes = limits.entry_bytes + 1

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
                if stored.get(index) == min(photo.size, self._most_bytes):
                    continue
                check()
                puts.put(layout.input_image(job.id, index), self._spool(photo, check))
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

    def _spool(self, photo: ArchivedPhoto, check: Check) -> BinaryIO:
        """Return a photo as a file, of one that is too large enough to fail it alone."""
        spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (closed when it is stored)
        try:
            for piece in photo.pieces:
                check()
                spool.write(piece)
            spool.truncate(min(spool.tell(), self._most_bytes))
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
    found = ((layout.input_index(job_id, e.key), e.size) for e in objects.list(layout.inputs_prefix(job_id)))
    return {index: size for index, size in found if index is not None}


def _archives(objects: ObjectStore, job_id: str) -> Iterator[tuple[int, str]]:
    prefix = layout.archives_prefix(job_id)
    for entry in objects.list(prefix):
        yield int(entry.key.removeprefix(prefix).removesuffix(".zip")), entry.key
