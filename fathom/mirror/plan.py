"""Plan a run of the mirror: which results are here already, which jobs are under way, and what to send."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from fathom.errors import ApiError
from fathom.files import Album, NotWritten, atomic_file, inside, writing
from fathom.mirror.index import IndexFull, LocalPhoto, MirrorIndex, Unreadable, UploadBatch
from fathom.mirror.report import MirrorReport
from fathom.models import ImageResult, UploadFile
from fathom.photos.discovery import UNREADABLE
from fathom.sync_client import Fathom, JobHandle

#: Photos of one job, unless all must be normalised together.
BATCH = 250
#: HTTP statuses for a job that the server has forgotten.
GONE = frozenset({404, 410})
#: Codes of failures that are due to the photo itself: sent again, it would fail again.
LASTING = frozenset(
    {"image_empty", "unsupported_format", "image_corrupt", "image_too_large", "image_too_small"}
)


@dataclass(frozen=True, kw_only=True)
class MirrorRequest:
    """What to mirror: an album and, for each photo by output, the paths of its results relative to `out`."""

    album: Album
    #: By photo of `album.files`.
    paths: Sequence[Mapping[str, str]]
    options: Mapping[str, Any]
    out: Path


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """A batch with its photos; None stands for one that is no longer in the album, or has changed."""

    batch: UploadBatch
    photos: tuple[LocalPhoto | None, ...]
    #: Indexes of the photos that need nothing more.
    settled: frozenset[int] = frozenset()

    @property
    def is_whole(self) -> bool:
        return None not in self.photos

    @property
    def waiting(self) -> list[LocalPhoto]:
        return [photo for i, photo in enumerate(self.photos) if photo and i not in self.settled]

    @property
    def files(self) -> list[UploadFile]:
        return [photo.file for photo in self.photos if photo]

    @property
    def size(self) -> int:
        """Bytes of the photos waiting."""
        return sum(photo.size for photo in self.waiting)


class Planner:
    """Plans one run, and counts in `report` what is here already."""

    def __init__(
        self, fathom: Fathom, index: MirrorIndex, request: MirrorRequest, report: MirrorReport
    ) -> None:
        self._fathom = fathom
        self._index = index
        self._request = request
        self._report = report
        self._api = str(fathom.base_url)
        #: Relative paths of the results wanted of each photo, by its key and by output.
        self.paths: dict[str, Mapping[str, str]] = {}
        files = (PurePosixPath(path) for paths in request.paths for path in paths.values())
        self._folders = {folder.as_posix() for file in files for folder in file.parents}

    def plan(self) -> list[PlannedBatch]:
        """Return the batches to work on, first those that an earlier run began.

        Raises ClientError if the server does not say how those stand.
        """
        photos = {photo.key: photo for photo in self._identify()}
        here = {key for key, photo in photos.items() if self._is_here(photo)}
        batches = [
            planned
            for batch in self._index.batches(self._api)
            if (planned := self._resume(batch, photos, here))
        ]
        under_way = {photo.key for planned in batches for photo in planned.photos if photo}
        new = [photo for key, photo in photos.items() if key not in under_way | here]
        batches += [planned for part in _parts(new, self._batch_size) if (planned := self._try_open(part))]
        return [planned for planned in batches if self._release(planned)]

    def open(self, photos: Sequence[LocalPhoto]) -> PlannedBatch:
        """Record photos as a new batch, which no server has heard of yet."""
        return PlannedBatch(batch=self._index.open_batch(self._api, photos), photos=tuple(photos))

    def _try_open(self, photos: Sequence[LocalPhoto]) -> PlannedBatch | None:
        """Open a batch. If there is no room to record it, fail its photos and return None."""
        try:
            return self.open(photos)
        except IndexFull as exc:
            self._fail(photos, exc)
            return None

    def _release(self, planned: PlannedBatch) -> bool:
        """Record that a batch's results become invalid; False if there is no room, which fails its photos."""
        try:
            self._index.release(path for photo in planned.waiting for path in self.paths[photo.key].values())
        except IndexFull as exc:
            self._fail(planned.waiting, exc)
            return False
        return True

    def _fail(self, photos: Iterable[LocalPhoto], error: NotWritten | IndexFull) -> None:
        self._report.new_failures += [
            ImageResult.failure(photo.file.name, error.code, str(error)) for photo in photos
        ]

    def find_job(self, batch: UploadBatch) -> JobHandle | None:
        """Return a batch's job; None if it has none, or if the server has forgotten it."""
        if batch.job is None:
            return None
        try:
            job = self._fathom.job(batch.job)
        except ApiError as exc:
            if exc.status in GONE:
                return None
            raise
        return None if job.status.state == "expired" else job

    @property
    def _batch_size(self) -> int:
        # Photos that share one range must be in one job.
        together = self._request.options.get("normalize") == "job"
        return max(len(self._request.album.files), 1) if together else BATCH

    def _identify(self) -> Iterator[LocalPhoto]:
        for file, paths in zip(self._request.album.files, self._request.paths, strict=True):
            key, number = file.name, 2
            while key in self.paths:
                key, number = f"{file.name} ({number})", number + 1
            self.paths[key] = paths
            try:
                yield self._index.identify(file, key)
            except Unreadable as exc:
                self._report.new_failures.append(ImageResult.failure(file.name, UNREADABLE, str(exc)))

    def _is_here(self, photo: LocalPhoto) -> bool:
        """Return whether a photo needs nothing more: its results are there, or it is known to have none."""
        wanted = self.paths[photo.key]
        record = self._index.find(photo, wanted.keys())
        if record is None or (record.code is not None and record.code not in LASTING):
            return False
        if record.files is None:
            failure = ImageResult.failure(photo.file.name, record.code or "", record.message or "")
            self._report.known_failures.append(failure)
            return True
        try:
            self._place(photo, record.files)
        except (NotWritten, IndexFull) as exc:
            self._fail([photo], exc)
            return True
        self._report.kept += 1
        self._report.files += len(wanted)
        return True

    def _place(self, photo: LocalPhoto, files: Mapping[str, str]) -> None:
        """Copy earlier results, made under this name or another, to where they are wanted now."""
        moved = {
            path: files[output] for output, path in self.paths[photo.key].items() if files[output] != path
        }
        if not moved:
            return
        self._index.release(moved)
        for path, source in moved.items():
            _copy(inside(self._request.out, source), inside(self._request.out, path))
        self._index.keep(photo, files=self.paths[photo.key])
        for source in self._folders.intersection(moved.values()):
            # A folder of results will take the place of this file.
            inside(self._request.out, source).unlink(missing_ok=True)

    def _resume(
        self, batch: UploadBatch, photos: Mapping[str, LocalPhoto], here: set[str]
    ) -> PlannedBatch | None:
        """Return an earlier run's batch to continue; None if its photos must be sent anew."""
        planned = self._recall(batch, photos, here)
        if not planned.waiting:
            self._index.close_batch(batch)
            return None
        job = self.find_job(batch)
        was_never_answered = batch.job is None
        if planned.is_whole and (job is not None or was_never_answered):
            return planned
        if job is not None and job.status.state != "uploading":
            return planned
        if job is not None:
            # Its uploads will never be complete.
            with suppress(ApiError):
                job.delete()
        self._index.close_batch(batch)
        return None

    def _recall(self, batch: UploadBatch, photos: Mapping[str, LocalPhoto], here: set[str]) -> PlannedBatch:
        present = tuple(photos.get(key) for key in batch.keys)
        same = tuple(photo if photo and self._index.is_unchanged(photo) else None for photo in present)
        settled = frozenset(i for i, photo in enumerate(same) if photo and photo.key in here)
        return PlannedBatch(batch=batch, photos=same, settled=settled)


def _parts(photos: Sequence[LocalPhoto], size: int) -> Iterator[list[LocalPhoto]]:
    waiting = iter(photos)
    while part := list(islice(waiting, size)):
        yield part


def _copy(source: Path, target: Path) -> None:
    with writing(target), source.open("rb") as file, atomic_file(target) as copy:
        shutil.copyfileobj(file, copy)
