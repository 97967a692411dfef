"""Finds the photos of an album in files and folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from photos.formats import HEAD_BYTES, SUFFIXES, sniff_format


def find_photos(paths: Iterable[Path], *, skip: Path | None = None) -> list[tuple[Path, str]]:
    """Return every photo below `paths` as (path, name), in the order of the names of each folder.

    A file given by itself is always taken. From a folder, at any depth, a regular file is
    taken if its suffix is that of a picture or its content is one: a text file named
    `.jpg` is taken too, so that its owner hears of it. Hidden files and folders, links to
    folders, and all that lies below `skip` are left out. A name is relative to the
    folder given, with `/`, and always valid Unicode.

    Raises FileNotFoundError for a path that does not exist.
    """
    photos: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            photos += [(file, _name(file.relative_to(path))) for file in _walk(path, skip)]
        elif path.exists():
            photos.append((path, _name(Path(path.name))))
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return photos


def _walk(folder: Path, skip: Path | None) -> Iterator[Path]:
    skipped = skip.resolve() if skip else None
    # A folder that cannot be listed is reported rather than passed over in silence.
    for here, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(f for f in folders if _is_wanted(Path(here, f), skipped))
        for file in sorted(files):
            path = Path(here, file)
            if not file.startswith(".") and path.is_file() and _looks_like_photo(path):
                yield path


def _is_wanted(folder: Path, skipped: Path | None) -> bool:
    return not folder.name.startswith(".") and (skipped is None or folder.resolve() != skipped)


def _raise(error: OSError) -> None:
    raise error


def _looks_like_photo(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return sniff_format(file.read(HEAD_BYTES)) is not None
    except OSError:
        # Not called a picture, and not to be looked into: no photo of the album's.
        return False


def _name(relative: Path) -> str:
    """Return a path with `/`; bytes that are not UTF-8 become the replacement character."""
    return os.fsencode(relative.as_posix()).decode("utf-8", "replace")
