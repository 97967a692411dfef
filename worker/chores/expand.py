"""Expand the archives of a job into its inputs.

The API has read each archive's directory and written the manifest already. An archive's object is named
after the index of its first photo, so the index of every photo is known, and what was stored before a
crash need not be stored again. A large archive takes many time slices. A photo that cannot be read becomes
an image that fails: its reason is stored in place of its input.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fathom.photos.labels import is_labels
from shared.archive.zip_reader import ArchivedPhoto, ArchiveLimits, SkippedEntry, expand
from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, Job
from shared.objectstore.port import ObjectStore
from worker.chores.object_file import open_object
from worker.chores.runner import Check
from worker.chores.time_slice import TIME_SLICE as TIME_SLICE
from worker.chores.time_slice import TimeSlice, read_cursor, write_cursor

#: Photos stored at the same time, and bytes of each that wait in memory; the rest waits on disk.
_PUTS_AT_ONCE = 4
_IN_MEMORY = 2**20
#: Stands for the size of a photo that cannot be read and whose reason is stored.
_UNREADABLE = -1


@dataclass(frozen=True, kw_only=True)
class _ArchiveCursor:
    """How far the archives of a job are expanded: everything before is stored."""

    #: The archive, by the index of its first photo.
    archive: int = 0
    #: Entries before the cursor in that archive, photos or not; and the index of the next photo.
    entries: int = 0
    photo: int = 0


class ArchiveExpander:
    """Gathers the images of a job by expanding its archives."""

    def __init__(
        self, objects: ObjectStore, limits: ArchiveLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects = objects
        self._limits = limits
        self._clock = clock

    def expand_all(self, job: Job, check: Check) -> int:
        """Expand the archives of a job; return how many images it has. Raises TimeSliceOver."""
        noted = read_cursor(self._objects, job.id)
        # Listing many takes long, and tells something only if the last time slice saved no cursor.
        stored = {} if noted else _stored_sizes(self._objects, job.id)
        time_slice = TimeSlice(self._clock)
        with ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="expand") as senders:
            puts = _Puts(self._objects, senders)
            for index, entry, after in self._entries(job.id, _ArchiveCursor(**(noted or {}))):
                check()
                if isinstance(entry, ArchivedPhoto) and is_labels(entry.name):
                    puts.put(object_keys.labels(job.id, entry.name), self._labels(entry, check))
                elif isinstance(entry, ArchivedPhoto) and not _is_stored(stored.get(index), entry):
                    puts.put(*self._to_store(job.id, index, entry, check))
                time_slice.step_done(partial(self._note, job.id, puts, after))
            puts.finish()
        return job.counts.total

    def _note(self, job_id: str, puts: _Puts, cursor: _ArchiveCursor) -> None:
        puts.finish()
        write_cursor(self._objects, job_id, asdict(cursor))

    def _entries(
        self, job_id: str, cursor: _ArchiveCursor
    ) -> Iterator[tuple[int, ArchivedPhoto | SkippedEntry, _ArchiveCursor]]:
        """Yield each entry after the cursor, with its index if it is a photo, and the cursor after it."""
        for first, key in sorted(_archives(self._objects, job_id)):
            if first < cursor.archive:
                continue
            resumed = first == cursor.archive and cursor.entries > 0
            done, index = (cursor.entries, cursor.photo) if resumed else (0, first)
            for entry in expand(open_object(self._objects, key), self._limits, skip=done):
                done, after = done + 1, index + _is_image(entry)
                yield index, entry, _ArchiveCursor(archive=first, entries=done, photo=after)
                index = after

    def _to_store(self, job_id: str, index: int, photo: ArchivedPhoto, check: Check) -> tuple[str, BinaryIO]:
        """Return the key and content to store: the photo, or the reason why it cannot be read."""
        try:
            return object_keys.input_image(job_id, index), self._spool(photo, check)
        except ImageError as exc:
            reason = encode_failure(ImageFailure(code=exc.code, message=exc.message))
            return object_keys.unreadable(job_id, index), io.BytesIO(reason)

    def _labels(self, picture: ArchivedPhoto, check: Check) -> BinaryIO:
        """Return a label picture, or an empty one, which its photo will be refused with, if it is damaged."""
        try:
            return self._spool(picture, check)
        except ImageError:
            return io.BytesIO()

    def _spool(self, photo: ArchivedPhoto, check: Check) -> BinaryIO:
        """Return a photo as a file. Raises ImageError if it cannot be read."""
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


def _is_stored(size: int | None, photo: ArchivedPhoto) -> bool:
    """Return whether a stored size is that of a photo, or says that its reason is stored."""
    return size in (photo.size, _UNREADABLE)


def _is_image(entry: ArchivedPhoto | SkippedEntry) -> bool:
    """Return whether an entry is an image of the job."""
    return isinstance(entry, ArchivedPhoto) and not is_labels(entry.name)


class _Puts:
    """Stores a few photos at a time while the next ones are expanded."""

    def __init__(self, objects: ObjectStore, senders: ThreadPoolExecutor) -> None:
        self._objects = objects
        self._senders = senders
        self._putting: set[Future[None]] = set()

    def put(self, key: str, file: BinaryIO) -> None:
        """Store a file and close it. Raises what an earlier put raised."""
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
    """Return the sizes of stored inputs by index: an input is stored whole or not at all."""
    reasons = object_keys.unreadable_prefix(job_id)
    inputs = (
        (object_keys.input_index(job_id, e.key), e.size)
        for e in objects.list(object_keys.inputs_prefix(job_id))
    )
    sizes = {index: size for index, size in inputs if index is not None}
    unreadable = (entry.key.removeprefix(reasons) for entry in objects.list(reasons))
    return sizes | {int(name.removesuffix(".json")): _UNREADABLE for name in unreadable}


def _archives(objects: ObjectStore, job_id: str) -> Iterator[tuple[int, str]]:
    prefix = object_keys.archives_prefix(job_id)
    for entry in objects.list(prefix):
        yield int(entry.key.removeprefix(prefix).removesuffix(".zip")), entry.key
