"""Files of this machine: those to be sent, and results written whole and never outside their folder."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from client.models import UploadFile
from client.transport import ClientError


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`.

    Raises ClientError if that leaves `root`, be it by `..`, by an absolute path
    or through a symbolic link below `root`.
    """
    path = root / PurePosixPath(relative)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ClientError(f"{relative!r} would be written outside {root}.")
    return path


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that appears under its name only when it is complete.

    Raises ClientError if the file cannot be written.
    """
    try:
        _write_beside(path, chunks)
    except OSError as exc:
        raise ClientError(f"Cannot write {path}: {exc.strerror or exc}.") from exc


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
    """Write a job's ZIP below `root`, and return the files' paths."""
    return [_extract(archive, entry, root) for entry in archive.infolist() if not entry.is_dir()]


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
