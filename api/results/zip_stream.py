"""All outputs of a job as one ZIP, made while it is being sent.

Nothing is compressed, because pictures already are. Only the directory stays in memory, about 600 bytes
for each file. The next files are opened while one is sent, which hides the object store's latency.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count

from zipstream import ZIP_STORED, ZipStream

from api.services.backend import Backend
from fathom.result_names import output_files, result_names
from shared.errors import InvalidOptions, ObjectNotFound, OutputNotFound
from shared.jobs import object_keys
from shared.jobs.job import ImageState, Job
from shared.jobstore.port import JobStore
from shared.objectstore.port import ObjectStore

logger = logging.getLogger(__name__)

FAILURES = "failures.txt"

#: Files opened in advance, and the bytes of each that are kept in memory.
_PREFETCHED = 4
_PIECE = 512 * 2**10
_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of the archive and the object it comes from."""

    path: str
    key: str


def choose_outputs(job: Job, names: str | None) -> tuple[str, ...]:
    """Return the outputs in a comma-separated list; None means all that the job has.

    Raises InvalidOptions for an output that the job does not have.
    """
    files = output_files(job.options)
    if names is None:
        return tuple(files)
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in files]
    if unknown or not chosen:
        raise InvalidOptions(f"outputs must be among {', '.join(files)}.")
    return chosen


def members(backend: Backend, job: Job, outputs: tuple[str, ...]) -> Iterator[Member]:
    """Yield the outputs that exist by now, by index, under the names that they have in the whole job."""
    files = output_files(job.options)
    paths = enumerate(result_names(backend.manifests.names(job.id), job.options))
    for index in _succeeded(backend.jobs, job.id):
        # Both run forward by index, so one pass over the paths is enough.
        mine = next(paths_of for at, paths_of in paths if at == index)
        for output in outputs:
            yield Member(path=mine[output], key=object_keys.output(job.id, index, files[output]))


def stream_archive(backend: Backend, job: Job, outputs: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the archive, with the list of failures at its end.

    If a store fails, the stream ends without the archive's directory: the client sees a broken
    transfer, never a ZIP that lacks files. The list of failures also names outputs that somebody deleted.
    """
    archive = ZipStream(compress_type=ZIP_STORED, sized=False)
    lost: list[str] = []
    folders: set[str] = set()
    with ThreadPoolExecutor(_PREFETCHED, thread_name_prefix="archive") as openers:
        opened = _prefetch(backend.objects, members(backend, job, outputs), openers)
        with closing(opened):
            for member, data in opened:
                if data is None:
                    lost.append(member.path)
                    continue
                archive.add(data, member.path)
                folders.update(member.path.split("/")[:-1][:1])
                yield from archive.all_files()
    failures = "".join(chain(_failure_lines(backend, job), _lost_lines(lost)))
    if failures:
        archive.add(failures, _free_name(folders))
    yield from archive.finalize()
    logger.info("The archive was sent.", extra={"action": "send_archive", "job": job.id})


def _free_name(folders: set[str]) -> str:
    """Return a name for the list of failures that no folder of photos has."""
    folded = {folder.casefold() for folder in folders}
    numbered = (f"failures ({number}).txt" for number in count(2))
    return next(name for name in chain([FAILURES], numbered) if name not in folded)


def _prefetch(
    objects: ObjectStore, wanted: Iterator[Member], openers: Executor
) -> Generator[tuple[Member, Iterator[bytes] | None], None, None]:
    """Yield members in order, each with its data, whose first piece was already read.

    None instead of data means that the object is gone.
    """
    opening: deque[tuple[Member, Future[Iterator[bytes] | None]]] = deque()
    try:
        while True:
            while len(opening) < _PREFETCHED and (member := next(wanted, None)):
                opening.append((member, openers.submit(_open, objects, member.key)))
            if not opening:
                return
            member, future = opening.popleft()
            yield member, future.result()
    finally:
        for _, future in opening:
            future.cancel()


def _open(objects: ObjectStore, key: str) -> Iterator[bytes] | None:
    try:
        pieces = objects.stream(key, chunk_size=_PIECE)
    except ObjectNotFound:
        return None
    return chain([next(pieces, b"")], pieces)


def _succeeded(jobs: JobStore, job_id: str) -> Iterator[int]:
    cursor: int | None = 0
    while cursor is not None:
        page = jobs.images(job_id, state=ImageState.SUCCEEDED, cursor=cursor, limit=_PAGE)
        yield from (status.index for status in page.items)
        cursor = None if page.next_cursor is None else int(page.next_cursor)


def _failure_lines(backend: Backend, job: Job) -> Iterable[str]:
    """Yield a line for each photo that failed: its name, the reason and the code."""
    names = backend.manifests.names(job.id)
    for status in backend.jobs.failures(job.id):
        if status.failure is not None:
            yield f"{_on_one_line(names[status.index])}: {status.failure.message} ({status.failure.code})\n"


def _lost_lines(paths: list[str]) -> Iterator[str]:
    for path in paths:
        yield f"{path}: The output is no longer in the object store. ({OutputNotFound.code})\n"


def _on_one_line(name: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in name)
