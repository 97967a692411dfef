"""The index of a mirror: what became of each photo, so that no photo is sent or processed twice.

It is one SQLite file in the folder of results. It knows a photo by its content, and results by the options
they were made with. Every change is written before anything acts on it, so a run continues where a killed one
stopped.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom.errors import ClientError
from fathom.files import file_size
from fathom.models import UploadFile
from fathom.photos.discovery import to_path

FILE_NAME = ".fathom-index.sqlite3"

Execute = Callable[..., sqlite3.Cursor]

#: Raised with every change of the schema; an index of another version is left alone.
_VERSION = 1
_SCHEMA = f"""
create table photos (
    key text, variant text, size integer, modified integer, sha256 text, code text, message text,
    primary key (key, variant)
);
create index by_content on photos (sha256, variant);
create table files (path text primary key, size integer, key text, variant text, output text);
create index by_photo on files (key, variant);
create table batches (token text primary key, variant text, api text, job text, keys text);
pragma user_version = {_VERSION};
"""


class IndexInUse(ClientError):
    """Another run is working on the same results."""


class IndexBroken(ClientError):
    """The index cannot be read or written, or the file is not an index."""


class IndexFull(IndexBroken):
    """There is no room to record a change; the index is as it was."""

    code = "storage_full"


class Unreadable(ClientError):
    """A photo cannot be read."""


@dataclass(frozen=True, kw_only=True)
class LocalPhoto:
    """A photo of the album as it is on disk now."""

    file: UploadFile
    #: Its name, with a number if another photo has the same name.
    key: str
    size: int
    #: Nanoseconds since the epoch.
    modified: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PhotoRecord:
    """What the index knows of a photo: the relative paths of its results by output, or why it has none."""

    files: Mapping[str, str] | None
    code: str | None
    message: str | None


@dataclass(frozen=True, kw_only=True)
class UploadBatch:
    """Photos that went, or are about to go, to the server as one job."""

    #: Sent as the Idempotency-Key: the server answers a repeated request with the same job.
    token: str
    #: Keys of its photos, in the order of the job's images.
    keys: tuple[str, ...]
    #: None until the server has answered.
    job: str | None = None


class MirrorIndex:
    """The index of one folder of results, for one variant of them; open it with `open_index`.

    Every method may raise IndexBroken.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path, variant: str) -> None:
        self._db = connection
        self._folder = folder
        self._variant = variant
        self._turn = threading.Lock()

    def identify(self, file: UploadFile, key: str) -> LocalPhoto:
        """Return a photo with the hash of its content, read only if the file is new or has changed.

        Its label picture, if it has one, counts as a part of it. Raises Unreadable.
        """
        parts = [file.path, *([file.labels] if file.labels else [])]
        try:
            stats = [part.stat() for part in parts]
            size, modified = sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats)
            known = self._rows(
                "select sha256 from photos where key = ? and size = ? and modified = ? limit 1",
                *(key, size, modified),
            )
            sha256 = known[0][0] if known else _hash_all(parts)
        except OSError as exc:
            raise Unreadable(f"Cannot read {exc.filename or file.path}: {exc.strerror or exc}.") from exc
        return LocalPhoto(file=file, key=key, size=size, modified=modified, sha256=sha256)

    def find(self, photo: LocalPhoto, outputs: Collection[str]) -> PhotoRecord | None:
        """Return what is known of a photo's content, under its own name or else under another.

        The record says why there are no results, or names an unchanged file for each of `outputs`.
        """
        rows = self._rows(
            "select key, code, message from photos where sha256 = ? and variant = ? order by key = ? desc",
            *(photo.sha256, self._variant, photo.key),
        )
        for key, code, message in rows:
            if code is not None:
                return PhotoRecord(files=None, code=code, message=message)
            files = self._intact_files(key)
            if files.keys() >= set(outputs):
                return PhotoRecord(files=files, code=None, message=None)
        return None

    def _intact_files(self, key: str) -> dict[str, str]:
        rows = self._rows(
            "select output, path, size from files where key = ? and variant = ?", key, self._variant
        )
        return {
            output: path for output, path, size in rows if file_size(self._folder / to_path(path)) == size
        }

    def keep(self, photo: LocalPhoto, *, files: Mapping[str, str]) -> None:
        """Record where a photo's results are, by output; they are complete, and the paths are its own now."""
        sizes = {path: file_size(self._folder / to_path(path)) for path in files.values()}
        with self._change() as execute:
            self._write(execute, photo)
            for output, path in files.items():
                execute(
                    "insert or replace into files values (?, ?, ?, ?, ?)",
                    (path, sizes[path], photo.key, self._variant, output),
                )

    def keep_failure(self, photo: LocalPhoto, *, code: str, message: str) -> None:
        """Record why a photo has no results."""
        with self._change() as execute:
            self._write(execute, photo, code, message)

    def release(self, paths: Iterable[str]) -> None:
        """Record that files are about to be replaced: they are no photo's result any more."""
        with self._change() as execute:
            for path in paths:
                execute("delete from files where path = ?", (path,))

    def forget(self) -> None:
        """Forget all photos and batches of this variant."""
        with self._change() as execute:
            for table in ("photos", "files", "batches"):
                execute(f"delete from {table} where variant = ?", (self._variant,))

    def batches(self, api: str) -> tuple[UploadBatch, ...]:
        """Return the batches of an earlier run that were not finished."""
        rows = self._rows(
            "select token, keys, job from batches where variant = ? and api = ? order by rowid",
            *(self._variant, api),
        )
        return tuple(
            UploadBatch(token=token, keys=tuple(json.loads(keys)), job=job) for token, keys, job in rows
        )

    def open_batch(self, api: str, photos: Sequence[LocalPhoto]) -> UploadBatch:
        """Record that photos are about to be sent together."""
        batch = UploadBatch(token=str(uuid.uuid4()), keys=tuple(photo.key for photo in photos))
        with self._change() as execute:
            execute(
                "insert into batches (token, variant, api, keys) values (?, ?, ?, ?)",
                (batch.token, self._variant, api, json.dumps(batch.keys)),
            )
            for photo in photos:
                self._write(execute, photo)
        return batch

    def accept(self, batch: UploadBatch, job: str) -> None:
        """Record the job that a batch became."""
        self._rows("update batches set job = ? where token = ?", job, batch.token)

    def close_batch(self, batch: UploadBatch) -> None:
        """Forget a batch that needs nothing more. If there is no room to record that, a later run will."""
        with suppress(IndexFull):
            self._rows("delete from batches where token = ?", batch.token)

    def is_unchanged(self, photo: LocalPhoto) -> bool:
        """Return whether the photo is still as it was when it was put into a batch."""
        rows = self._rows("select sha256 from photos where key = ? and variant = ?", photo.key, self._variant)
        return rows == [(photo.sha256,)]

    def _write(
        self, execute: Execute, photo: LocalPhoto, code: str | None = None, message: str | None = None
    ) -> None:
        """Record a photo as it is now; files made of its earlier content are no longer its results."""
        execute("delete from files where key = ? and variant = ?", (photo.key, self._variant))
        execute(
            "insert or replace into photos values (?, ?, ?, ?, ?, ?, ?)",
            (photo.key, self._variant, photo.size, photo.modified, photo.sha256, code, message),
        )

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self._change() as execute:
            return execute(statement, values).fetchall()

    @contextmanager
    def _change(self) -> Iterator[Execute]:
        """Make several statements one transaction, of one thread at a time."""
        with self._turn:
            try:
                # Commits, or rolls back if there is an error.
                with self._db:
                    self._db.execute("begin")
                    yield self._db.execute
            except sqlite3.Error as exc:
                is_full = getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                kind = IndexFull if is_full else IndexBroken
                raise kind(f"The index in {self._folder} failed: {exc}.") from exc


@contextmanager
def open_index(folder: Path, options: Mapping[str, Any], *, fresh: bool = False) -> Iterator[MirrorIndex]:
    """Open the index of a folder of results, for this run alone; with `fresh`, forget what it knew.

    `options` are everything that the results depend on. Raises IndexInUse while another run has it
    open, and IndexBroken if the file is not an index or nothing can be written.
    """
    variant = fingerprint(options)
    with closing(_connect(folder)) as connection:
        index = MirrorIndex(connection, folder, variant)
        if fresh:
            index.forget()
        yield index


def fingerprint(options: Mapping[str, Any]) -> str:
    """Return a short hash of the options that results are made with."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def _hash_all(paths: Sequence[Path]) -> str:
    """Return the hash of a file, or one of the hashes of several."""
    hashes = [hash_file(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _connect(folder: Path) -> sqlite3.Connection:
    """Open the index, and lock out other processes until it is closed; a dead process holds no lock."""
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.OperationalError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise IndexBroken(f"Cannot write into {folder}: {reason}.") from exc
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("pragma locking_mode = exclusive")
        # A change costs one write of a few bytes, and survives however the process ends.
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        # The results need the room: let the log grow to 400 KiB instead of 4 MiB.
        connection.execute("pragma wal_autocheckpoint = 100")
        connection.execute("begin exclusive")
        connection.execute("commit")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version == 0:
            connection.executescript(_SCHEMA)
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise IndexInUse(f"Another `fathom` is writing into {path.parent}; wait until it ends.") from exc
        raise IndexBroken(f"Cannot write into {path.parent}: {exc}.") from exc
    except sqlite3.DatabaseError as exc:
        raise IndexBroken(f"{path} is not an index of Fathom's; move it away and run again.") from exc
    if version not in (0, _VERSION):
        raise IndexBroken(f"{path} was made by another version of Fathom; move it away and run again.")
