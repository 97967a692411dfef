"""What there is to do for an album: what is here already, what is under way, and what is to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from fathom.files import NotWritten, inside, write_atomically, writing
from fathom.mirror.index import AlbumIndex, Batch, IndexFull, Photo, Unreadable
from fathom.mirror.report import Account
from fathom.models import ImageResult, UploadFile
from fathom.photos.discovery import UNREADABLE
from fathom.photos.skipped import Skipped
from fathom.sync_client import Fathom, JobHandle
from fathom.transport import ApiError

#: Photos of one job, unless all must be normalised together.
BATCH = 250
#: Statuses of a job that the server has forgotten.
GONE = frozenset({404, 410})
#: Failures that lie in the photo itself: sent again, it would fail again.
LASTING = frozenset(
    {"image_empty", "unsupported_format", "image_corrupt", "image_too_large", "image_too_small"}
)
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An album to be turned into files below `out`: by photo, the results wanted and their relative paths."""

    files: Sequence[UploadFile]
    paths: Sequence[Mapping[str, str]]
    options: Mapping[str, Any]
    out: Path
    #: Photos that are not sent, each with its reason, and files that are no photos.
    refused: Sequence[ImageResult] = ()
    skipped: Skipped = field(default_factory=Skipped)


@dataclass(frozen=True, kw_only=True)
class Order:
    """A batch with its photos; None stands for one that is no longer in the album, or has changed."""

    batch: Batch
    photos: tuple[Photo | None, ...]
    #: Indexes of the photos that need nothing more.
    settled: frozenset[int] = frozenset()

    @property
    def is_whole(self) -> bool:
        return None not in self.photos

    @property
    def waiting(self) -> list[Photo]:
        return [photo for i, photo in enumerate(self.photos) if photo and i not in self.settled]

    @property
    def files(self) -> list[UploadFile]:
        return [photo.file for photo in self.photos if photo]

    @property
    def size(self) -> int:
        """Bytes of the photos waiting."""
        return sum(photo.size for photo in self.waiting)


class Planner:
    """Plans one run; what is here already goes into `account` at once."""

    def __init__(self, fathom: Fathom, index: AlbumIndex, wish: Wish, account: Account) -> None:
        self._fathom = fathom
        self._index = index
        self._wish = wish
        self._account = account
        self._api = str(fathom.base_url)
        #: Relative paths of the results wanted of each photo, by its key and by output.
        self.paths: dict[str, Mapping[str, str]] = {}
        files = (PurePosixPath(path) for paths in wish.paths for path in paths.values())
        self._folders = {folder.as_posix() for file in files for folder in file.parents}

    def plan(self) -> list[Order]:
        """Return what is to be done, first what an earlier run began.

        Raises ClientError if the server does not say how that stands.
        """
        photos = {photo.key: photo for photo in self._identify()}
        here = {key for key, photo in photos.items() if self._is_here(photo)}
        orders = [
            order for batch in self._index.batches(self._api) if (order := self._resume(batch, photos, here))
        ]
        under_way = {photo.key for order in orders for photo in order.photos if photo}
        new = [photo for key, photo in photos.items() if key not in under_way | here]
        orders += [order for part in _parts(new, self._batch_size) if (order := self._try_open(part))]
        return [order for order in orders if self._release(order)]

    def open(self, photos: Sequence[Photo]) -> Order:
        """Return photos as a batch that no server has heard of."""
        return Order(batch=self._index.open_batch(self._api, photos), photos=tuple(photos))

    def _try_open(self, photos: Sequence[Photo]) -> Order | None:
        """Open a batch; None if there is no room to note it, which fails its photos."""
        try:
            return self.open(photos)
        except IndexFull as exc:
            self._fail(photos, exc)
            return None

    def _release(self, order: Order) -> bool:
        """Note that the results of an order are to be replaced; False if there is no room, as above."""
        try:
            self._index.release(path for photo in order.waiting for path in self.paths[photo.key].values())
        except IndexFull as exc:
            self._fail(order.waiting, exc)
            return False
        return True

    def _fail(self, photos: Iterable[Photo], error: NotWritten | IndexFull) -> None:
        self._account.new_failures += [
            ImageResult.failure(photo.file.name, error.code, str(error)) for photo in photos
        ]

    def find_job(self, batch: Batch) -> JobHandle | None:
        """Return the job a batch became; None if it became none, or if that is gone."""
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
        # One range for the whole job: then the whole album is one job.
        together = self._wish.options.get("normalize") == "job"
        return max(len(self._wish.files), 1) if together else BATCH

    def _identify(self) -> Iterator[Photo]:
        for file, paths in zip(self._wish.files, self._wish.paths, strict=True):
            key, number = file.name, 2
            while key in self.paths:
                key, number = f"{file.name} ({number})", number + 1
            self.paths[key] = paths
            try:
                yield self._index.identify(file, key)
            except Unreadable as exc:
                self._account.new_failures.append(ImageResult.failure(file.name, UNREADABLE, str(exc)))

    def _is_here(self, photo: Photo) -> bool:
        """Return whether a photo needs nothing more: its results are there, or it is known to have none."""
        wanted = self.paths[photo.key]
        record = self._index.find(photo, wanted.keys())
        if record is None or (record.code is not None and record.code not in LASTING):
            return False
        if record.files is None:
            failure = ImageResult.failure(photo.file.name, record.code or "", record.message or "")
            self._account.known_failures.append(failure)
            return True
        try:
            self._place(photo, record.files)
        except (NotWritten, IndexFull) as exc:
            self._fail([photo], exc)
            return True
        self._account.kept += 1
        self._account.files += len(wanted)
        return True

    def _place(self, photo: Photo, files: Mapping[str, str]) -> None:
        """Put results made before, under this name or another, where they are wanted now."""
        moved = {
            path: files[output] for output, path in self.paths[photo.key].items() if files[output] != path
        }
        if not moved:
            return
        self._index.release(moved)
        for path, source in moved.items():
            _copy(inside(self._wish.out, source), inside(self._wish.out, path))
        self._index.keep(photo, files=self.paths[photo.key])
        for source in self._folders.intersection(moved.values()):
            # A folder of results is to be where this one was.
            inside(self._wish.out, source).unlink(missing_ok=True)

    def _resume(self, batch: Batch, photos: Mapping[str, Photo], here: set[str]) -> Order | None:
        """Return an earlier run's batch to go on with; None if its photos had better be sent anew."""
        order = self._recall(batch, photos, here)
        if not order.waiting:
            self._index.close_batch(batch)
            return None
        job = self.find_job(batch)
        was_never_answered = batch.job is None
        if order.is_whole and (job is not None or was_never_answered):
            return order
        if job is not None and job.status.state != "uploading":
            return order
        if job is not None:
            # Its uploads will never be complete.
            with suppress(ApiError):
                job.delete()
        self._index.close_batch(batch)
        return None

    def _recall(self, batch: Batch, photos: Mapping[str, Photo], here: set[str]) -> Order:
        present = tuple(photos.get(key) for key in batch.keys)
        same = tuple(photo if photo and self._index.is_unchanged(photo) else None for photo in present)
        settled = frozenset(i for i, photo in enumerate(same) if photo and photo.key in here)
        return Order(batch=batch, photos=same, settled=settled)


def _parts(photos: Sequence[Photo], size: int) -> Iterator[list[Photo]]:
    waiting = iter(photos)
    while part := list(islice(waiting, size)):
        yield part


def _copy(source: Path, target: Path) -> None:
    with writing(target), source.open("rb") as file:
        write_atomically(target, iter(lambda: file.read(_CHUNK), b""))
