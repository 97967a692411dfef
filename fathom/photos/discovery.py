"""Finds the photos of an album in files and folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fathom.photos.formats import HEAD_BYTES
from fathom.photos.kinds import FileKind, is_hidden, kind_of, needs_head, why_unread
from fathom.photos.labels import is_labels, label_key
from fathom.photos.skipped import Skipped

UNREADABLE = "unreadable"
UNSUPPORTED = "unsupported_format"

_UNSUPPORTED = "The file is not a picture in a format Fathom reads."
#: What is neither a file nor a folder, by the type in its mode.
_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
#: Where the same path is another file in another process: `/dev/stdin` is one.
_OF_PROCESSES = (Path("/dev"), Path("/proc"))


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A photo, or a folder, that can give no depth map, and why; its code is one of the API's."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an album holds; all names are relative, with `/`, and valid Unicode."""

    #: Files worth a try, each with its name, in the order of the names of each folder.
    photos: list[tuple[Path, str]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    #: Label pictures by `label_key`; they are not among the skipped.
    labels: dict[str, Path] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=Skipped)


def find_photos(paths: Iterable[Path], *, skip: Path | None = None) -> Found:
    """Return what is to be found in files, and in folders at any depth.

    `fathom.photos.kinds` tells what is a photo: a text named `.jpg` is one, so that its owner hears of it,
    and so is a file given by itself, unless it is a video or a sidecar. Pictures that Fathom does not read,
    and files and folders that cannot be read, are refused. What systems keep for themselves, links to
    folders, and all that lies below `skip` are passed over. No photo is read beyond its first bytes.

    Raises OSError, with a sentence, for a path that does not exist or is neither a file nor a folder.
    """
    search = _Search(skip)
    for path in paths:
        check_path(path)
        search.add(path)
    return search.found


def check_path(path: Path) -> None:
    """Raise OSError for a path that does not exist, and for one that is neither a file nor a folder."""
    with suppress(PermissionError):
        os.lstat(path)
    if (special := _special(path)) is not None:
        reason = f"it is {special}, not a file; save what comes out of it as a file, and give that"
        raise OSError(errno.EINVAL, reason, str(path))


class _Search:
    """Goes through files and folders, and sorts what is there."""

    def __init__(self, skip: Path | None) -> None:
        self.found = Found()
        self._skip = skip.resolve() if skip else None

    def add(self, path: Path) -> None:
        """Add a file or a folder that was given by itself."""
        try:
            if path.is_dir():
                self._walk(path)
            else:
                self._look(_for_all(path), to_name(Path(path.name)), is_given=True)
        except OSError as exc:
            self._refuse_unreadable(to_name(Path(path.name)), exc)

    def _walk(self, root: Path) -> None:
        def refuse(exc: OSError) -> None:
            self._refuse_unreadable(_name_below(root, Path(exc.filename or root)), exc)

        for here, folders, files in os.walk(root, onerror=refuse):
            folders[:] = sorted(folder for folder in folders if self._is_wanted(Path(here, folder)))
            place = Path(here)
            for file in sorted(files):
                if not is_hidden(file):
                    path = place / file
                    self._look(path, _name_below(root, path))

    def _is_wanted(self, folder: Path) -> bool:
        return not is_hidden(folder.name) and (self._skip is None or folder.resolve() != self._skip)

    def _look(self, path: Path, name: str, *, is_given: bool = False) -> None:
        if is_labels(name) and not is_given:
            self.found.labels[label_key(name)] = path
            return None
        try:
            kind, head = _tell(path, name)
        except OSError as exc:
            return self._refuse_unreadable(name, exc)
        if kind is FileKind.PHOTO or (is_given and kind is FileKind.OTHER):
            self.found.photos.append((path, name))
        elif kind is FileKind.UNREAD:
            message = why_unread(name, head) or _UNSUPPORTED
            self.found.refused.append(Refused(name=name, code=UNSUPPORTED, message=message))
        else:
            self.found.skipped.add(name, kind)
        return None

    def _refuse_unreadable(self, name: str, exc: OSError) -> None:
        message = f"It cannot be read: {exc.strerror or exc}."
        self.found.refused.append(Refused(name=name, code=UNREADABLE, message=message))


def _for_all(path: Path) -> Path:
    """Return a path under which every process finds the file."""
    is_own = any(path.is_relative_to(place) for place in _OF_PROCESSES)
    return Path(os.path.realpath(path)) if is_own else path


def to_name(path: Path) -> str:
    """Return a path as valid Unicode with `/`: bytes that are not UTF-8 become the replacement character."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def to_path(name: str) -> Path:
    """Return a relative path with `/` as the system takes it: in UTF-8, whatever the locale says."""
    return Path(os.fsdecode(name.encode()))


def _name_below(root: Path, path: Path) -> str:
    return to_name(Path(root.name) if path == root else path.relative_to(root))


def _tell(path: Path, name: str) -> tuple[FileKind, bytes]:
    """Return what a file is, and its first bytes unless its name tells enough.

    Raises OSError if a photo, or what may be one, cannot be read.
    """
    kind = kind_of(name)
    special = _special(path)
    if kind in (FileKind.VIDEO, FileKind.SIDECAR) or (kind is FileKind.OTHER and special):
        return kind, b""
    if special:
        # To open a pipe would be to wait for its writer.
        raise OSError(errno.EINVAL, f"it is {special}, not a file")
    with path.open("rb", buffering=0) as file:
        if not needs_head(name):
            return kind, b""
        head = file.read(HEAD_BYTES)
    return kind_of(name, head), head


def _special(path: Path) -> str | None:
    """Say what a path is that is neither a file nor a folder; None for those, and where nothing is known."""
    try:
        return _SPECIAL.get(stat.S_IFMT(path.stat().st_mode))
    except OSError:
        return None
