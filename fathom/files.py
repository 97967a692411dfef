"""Find the files to send, and write results whole and only below their folder."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fathom.errors import ClientError
from fathom.models import ImageResult, UploadFile
from fathom.photos.discovery import UNREADABLE, Found, check_path, find_photos, to_path
from fathom.photos.labels import label_key
from fathom.photos.skipped import Skipped

#: How ZIP archives begin: with an entry, with their end if they are empty, or as one of several parts.
_ZIP_SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")


@dataclass(kw_only=True)
class Album:
    """The files to send, the photos that can give no depth map, and the files that are no photos."""

    files: list[UploadFile] = field(default_factory=list)
    refused: list[ImageResult] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


#: Errors of a file system that is full, or full for this user.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NotWritten(ClientError):
    """A result cannot be written; `code` is `storage_full` or `cannot_write`."""

    def __init__(self, message: str, *, code: str = "cannot_write") -> None:
        super().__init__(message)
        self.code = code


def below(root: Path, relative: str) -> Path:
    """Return `root / relative`. Raises ClientError if that leaves `root` by `..` or as an absolute path."""
    path = root / to_path(relative)
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise ClientError(f"{relative!r} would be written outside {root}.")
    return path


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`.

    Raises ClientError as `below` does, and NotWritten if it leaves `root` through a symbolic link.
    """
    path = below(root, relative)
    # Unlike Path.resolve, this does not raise for links in a circle; writing there will.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise NotWritten(f"{path} leads outside {root}.")
    return path


def file_size(path: Path) -> int | None:
    """Return a file's size in bytes; None if there is no file that can be read."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when the block has ended without an error.

    Raises NotWritten if the file cannot be written; then nothing of it is left.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name is short whatever the file's own name is, and hidden while it grows.
        handle, temporary = tempfile.mkstemp(prefix=".fathom-", suffix=".part", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                yield file
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate the errors of a block that writes to `path` into NotWritten."""
    try:
        yield
    except OSError as exc:
        code = "storage_full" if exc.errno in _FULL else "cannot_write"
        raise NotWritten(f"Cannot write {path}: {exc.strerror or exc}.", code=code) from exc


def find_album(paths: Iterable[str | os.PathLike[str] | UploadFile], *, skip: Path | None = None) -> Album:
    """Return what to send of files and folders, by the rule of `fathom.photos.discovery`.

    An UploadFile is sent as it is. Files in `skip` are results, and are passed over. Raises ClientError for a
    path that does not exist.
    """
    paths = list(paths)
    album = Album(files=[path for path in paths if isinstance(path, UploadFile)])
    found = _find((Path(path) for path in paths if not isinstance(path, UploadFile)), skip)
    album.files += [
        UploadFile(path=path, name=name, labels=found.labels.get(label_key(name)))
        for path, name in found.photos
    ]
    album.refused += [ImageResult.failure(**vars(refused)) for refused in found.refused]
    album.skipped = found.skipped
    return album


def find_readable(paths: Iterable[str | os.PathLike[str] | UploadFile]) -> Album:
    """Return what `find_album` finds, with the files that cannot be read among the refused."""
    album = find_album(paths)
    files, album.files = album.files, []
    for file in files:
        try:
            check_path(file.path)
            _read_start(file.path)
        except OSError as exc:
            message = f"It cannot be read: {exc.strerror or exc}."
            album.refused.append(ImageResult.failure(file.name, UNREADABLE, message))
        else:
            album.files.append(file)
    return album


def refuse_empty(album: Album) -> Album:
    """Return the album. Raises ClientError, with the reason, if it has no file to send."""
    if album.files:
        return album
    if album.refused:
        first, others = album.refused[0], len(album.refused) - 1
        rest = f" Nor can {others} more be sent." if others else ""
        raise ClientError(f"There is no file to submit. {first.name}: {first.error_message}{rest}")
    raise ClientError(f"There is no file to submit. {album.skipped}".strip())


def is_archive(path: Path) -> bool:
    """Return whether a file is a ZIP archive, by its first bytes: a photo with one appended is a photo."""
    try:
        return path.is_file() and _read_start(path).startswith(_ZIP_SIGNATURES)
    except OSError:
        return False


def _find(paths: Iterable[Path], skip: Path | None = None) -> Found:
    try:
        return find_photos(paths, skip=skip)
    except FileNotFoundError as exc:
        raise ClientError(f"There is no file or folder {exc.filename}.") from exc
    except OSError as exc:
        raise ClientError(f"Cannot read {exc.filename}: {exc.strerror or exc}.") from exc


def _read_start(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(4)


def extract_all(archive: zipfile.ZipFile, root: Path) -> list[Path]:
    """Write a job's ZIP below `root`, and return the files' paths.

    Raises NotWritten for the first file that cannot be written, after all others were.
    """
    written: list[Path] = []
    lost: list[NotWritten] = []
    for entry in archive.infolist():
        try:
            written += [] if entry.is_dir() else [_extract(archive, entry, root)]
        except NotWritten as exc:
            lost.append(exc)
    if lost:
        raise lost[0]
    return written


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path) -> Path:
    path = inside(root, entry.filename)
    with archive.open(entry) as source, atomic_file(path) as file:
        shutil.copyfileobj(source, file)
    return path
