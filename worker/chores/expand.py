"""Expanding the archives of a job into its inputs.

What an archive holds is known already: the API looked at its directory and wrote the manifest. An
archive's object is named after the index of its first photo, so that every photo has its place,
and what was stored before a death in the middle need not be stored again. A large archive takes many turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from shared import layout
from shared.archives import ArchivedPhoto, ArchiveLimits, SkippedEntry, expand
from shared.chores import Chore
from shared.jobs import Job
from shared.ports import ObjectStore
from worker.chores.gathering import Gathering
from worker.chores.object_file import open_object
from worker.chores.runner import Check, Done, Later
from worker.chores.turns import TURN as TURN
from worker.chores.turns import Turn, read_cursor, write_cursor

#: Photos stored at once, and the bytes of each that wait in memory; what is more waits on disk.
_PUTS_AT_ONCE = 4
_IN_MEMORY = 2**20


@dataclass(frozen=True, kw_only=True)
class _Cursor:
    """How far the archives of a job are expanded: all that lies before is stored."""

    #: The archive, by the index of its first photo.
    archive: int = 0
    #: What lies before in that archive, photos or not; and the index of the next photo.
    entries: int = 0
    photo: int = 0


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
        return self._gathering.run(chore, check, self._expand_all)

    def give_up(self, chore: Chore) -> None:
        self._gathering.give_up(chore)

    def _expand_all(self, job: Job, check: Check) -> int:
        noted = read_cursor(self._objects, job.id)
        # Listing them takes long where there are many: only what a turn left that came to no note.
        stored = {} if noted else _stored_sizes(self._objects, job.id)
        turn = Turn(self._clock)
        with ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="expand") as senders:
            puts = _Puts(self._objects, senders)
            for index, entry, after in self._entries(job.id, _Cursor(**(noted or {}))):
                check()
                if isinstance(entry, ArchivedPhoto) and not self._is_whole(entry, stored.get(index)):
                    puts.put(layout.input_image(job.id, index), self._spool(entry, check))
                turn.passed(partial(self._note, job.id, puts, after))
            puts.finish()
        return job.counts.total

    def _is_whole(self, photo: ArchivedPhoto, stored: int | None) -> bool:
        return stored == min(photo.size, self._most_bytes)

    def _note(self, job_id: str, puts: _Puts, cursor: _Cursor) -> None:
        puts.finish()
        write_cursor(self._objects, job_id, asdict(cursor))

    def _entries(
        self, job_id: str, cursor: _Cursor
    ) -> Iterator[tuple[int, ArchivedPhoto | SkippedEntry, _Cursor]]:
        """Yield what comes after the cursor: for a photo its index, and the cursor behind each."""
        for first, key in sorted(_archives(self._objects, job_id)):
            if first < cursor.archive:
                continue
            resumed = first == cursor.archive and cursor.entries > 0
            done, index = (cursor.entries, cursor.photo) if resumed else (0, first)
            for entry in expand(open_object(self._objects, key), self._limits, skip=done):
                done, after = done + 1, index + isinstance(entry, ArchivedPhoto)
                yield index, entry, _Cursor(archive=first, entries=done, photo=after)
                index = after

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
    prefix = layout.inputs_prefix(job_id)
    return {int(entry.key.removeprefix(prefix)): entry.size for entry in objects.list(prefix)}


def _archives(objects: ObjectStore, job_id: str) -> Iterator[tuple[int, str]]:
    prefix = layout.archives_prefix(job_id)
    for entry in objects.list(prefix):
        yield int(entry.key.removeprefix(prefix).removesuffix(".zip")), entry.key
