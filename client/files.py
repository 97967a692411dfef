"""Files of this machine: those to be sent, and results written whole and never outside their folder."""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from client.models import UploadFile
from client.transport import ClientError

#: What a file system says that has no room, or none for this user.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NotWritten(ClientError):
    """A result cannot be written; `code` is `storage_full` or `cannot_write`."""

    def __init__(self, message: str, *, code: str = "cannot_write") -> None:
        super().__init__(message)
        self.code = code


def below(root: Path, relative: str) -> Path:
    """Return `root / relative`. Raises ClientError if that leaves `root` by `..` or as an absolute path."""
    path = root / PurePosixPath(relative)
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise ClientError(f"{relative!r} would be written outside {root}.")
    return path


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`.

    Raises ClientError as `below` does, and NotWritten if it leaves `root` through a symbolic link.
    """
    path = below(root, relative)
    # Unlike Path.resolve, this raises nothing for links in a circle; writing there does.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise NotWritten(f"{path} leads outside {root}.")
    return path


def file_size(path: Path) -> int | None:
    """Return a file's size in bytes; None if there is none that can be looked at."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that appears under its name only when it is complete.

    Raises NotWritten if the file cannot be written; then nothing of it is left.
    """
    with writing(path):
        _write_beside(path, chunks)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise NotWritten for what the system says about writing to `path`."""
    try:
        yield
    except OSError as exc:
        code = "storage_full" if exc.errno in _FULL else "cannot_write"
        raise NotWritten(f"Cannot write {path}: {exc.strerror or exc}.", code=code) from exc


def _write_beside(path: Path, chunks: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is short whatever the file's own name is, and hidden while it grows.
    handle, temporary = tempfile.mkstemp(prefix=".fathom-", suffix=".part", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def find_files(paths: Iterable[str | os.PathLike[str] | UploadFile]) -> list[UploadFile]:
    """Return the files to send for paths; raises ClientError if there is none."""
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ClientError("There is no file to submit.")
    return files


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
    with archive.open(entry) as source:
        write_atomically(path, iter(lambda: source.read(2**16), b""))
    return path


def _files(path: str | os.PathLike[str] | UploadFile) -> Sequence[UploadFile]:
    if isinstance(path, UploadFile):
        return [path]
    place = Path(path)
    if place.is_dir():
        found = sorted(file for file in place.rglob("*") if file.is_file())
        return [UploadFile(path=file, name=file.relative_to(place).as_posix()) for file in found]
    if place.is_file():
        return [UploadFile(path=place, name=place.name)]
    raise ClientError(f"There is no file or folder {place}.")
