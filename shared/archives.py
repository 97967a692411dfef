"""Photos out of ZIP archives that anybody may have made, one after another and in bounded space.

The format is PKWARE's APPNOTE.TXT 6.3.10; section numbers below are its own.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from photos.formats import HEAD_BYTES
from photos.kinds import Kind, is_hidden, kind_of, needs_head
from shared.errors import InvalidArchive, TooLarge
from shared.settings import Settings

#: Bytes read from an entry at once.
_PIECE = 256 * 2**10
#: A directory shorter than this is read without a look at its entries (22,000 at most).
_SMALL_DIRECTORY = 2**20
#: Bytes of directory allowed for each entry, its name included.
_DIRECTORY_ENTRY_BYTES = 512
_DIRECTORY_SIGNATURE = b"PK\x01\x02"

#: What becomes an image of the job.
_TAKEN = (Kind.PHOTO, Kind.UNREAD)

_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_UNICODE_PATH_FIELD = 0x7075

#: What `zipfile` raises for archives that are damaged or made to do harm.
_DAMAGE = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may hold; what exceeds it is refused before it takes space."""

    #: Entries of all kinds, folders included.
    entries: int
    #: Bytes of one photo; one that is longer ends one byte beyond.
    entry_bytes: int
    #: Bytes of all photos together.
    total_bytes: int
    #: Expanded bytes for each byte of the archive. Deflate cannot exceed 1032; albums stay below 2.
    ratio: float = 200.0
    #: Expanded bytes up to which the ratio does not matter.
    ratio_from: int = 256 * 2**20

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveLimits:
        return cls(
            # Every photo may come with a folder, a macOS companion and a note. An archive's directory is
            # in memory as a whole, at 600 bytes for an entry.
            entries=min(4 * settings.max_job_images, 400_000),
            entry_bytes=settings.max_image_bytes,
            total_bytes=settings.max_request_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class ArchivedPhoto:
    """A photo in an archive. Its pieces can be read once, or left, before the next photo is asked for."""

    name: str
    #: Bytes, as the archive's directory has it; no more of them can be read.
    size: int
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class SkippedEntry:
    """A file in an archive that is no photo."""

    name: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class ListedPhoto:
    """A photo in an archive that was looked at but not expanded."""

    name: str
    #: Bytes, as the archive's directory has it; no more of them can be expanded.
    size: int


def survey(stream: BinaryIO, limits: ArchiveLimits) -> Iterator[ListedPhoto | SkippedEntry]:
    """Yield what `expand` would, in the same order, without expanding the photos.

    All is refused here that shows without expanding: what the directory says about sizes
    binds `expand` too, so that a bomb is found by its directory. What is left for `expand` to
    find is damage within an entry.

    Raises InvalidArchive and TooLarge as `expand` does.
    """
    with _translated(), ZipFile(_DirectoryGuard(stream, limits.entries)) as archive:
        meter = _Meter(limits, stream.seek(0, io.SEEK_END))
        for entry, name in _visible(archive, limits):
            if (kind := _kind_of(archive, entry, name)) in _TAKEN:
                meter.count(min(entry.file_size, limits.entry_bytes))
                yield ListedPhoto(name=name, size=entry.file_size)
            else:
                yield SkippedEntry(name=name, kind=kind)


def expand(stream: BinaryIO, limits: ArchiveLimits) -> Iterator[ArchivedPhoto | SkippedEntry]:
    """Yield the photos of a ZIP archive in its own order, and the files that are none.

    As in a folder, `photos.kinds` tells what a file is. Pictures that Fathom does not read are photos here:
    they fail by themselves. Folders, hidden files and what systems add are passed over in silence.
    Names are data: absolute ones, ones with `..` and repeated ones come as they are.

    Raises InvalidArchive for an archive that is damaged, encrypted or compressed by an
    uncommon method, and TooLarge beyond the limits, also while a photo's pieces are read.
    """
    with _translated(), ZipFile(_DirectoryGuard(stream, limits.entries)) as archive:
        meter = _Meter(limits, stream.seek(0, io.SEEK_END))
        for entry, name in _visible(archive, limits):
            if (kind := _kind_of(archive, entry, name)) in _TAKEN:
                pieces = _pieces(archive, entry, name, meter)
                yield ArchivedPhoto(name=name, size=entry.file_size, pieces=pieces)
            else:
                yield SkippedEntry(name=name, kind=kind)


def entry_name(entry: ZipInfo) -> str:
    """Return an entry's name as its maker meant it.

    UTF-8 if flagged (bit 11) or given in an Info-ZIP Unicode Path field (4.6.9); else UTF-8 if
    it happens to be valid, for macOS sets no flag; else code page 437 (appendix D.1).
    """
    if entry.flag_bits & _UTF8_NAME:
        return entry.orig_filename
    raw = entry.orig_filename.encode("cp437")
    given = _unicode_path(entry.extra, raw)
    try:
        return (given or raw).decode()
    except UnicodeDecodeError:
        return entry.orig_filename


def _unicode_path(extra: bytes, raw: bytes) -> bytes | None:
    """Return the name in the Unicode Path field, unless it was made for another name."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == _UNICODE_PATH_FIELD and size > 5:
            version, checksum = struct.unpack("<BL", extra[4:9])
            return extra[9 : 4 + size] if version == 1 and checksum == zlib.crc32(raw) else None
        extra = extra[4 + size :]
    return None


def _visible(archive: ZipFile, limits: ArchiveLimits) -> Iterator[tuple[ZipInfo, str]]:
    """Yield the entries that a person sees, with their names."""
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise TooLarge(f"The archive holds more than {limits.entries} entries.")
    for entry in entries:
        name = entry_name(entry)
        is_folder = name.endswith(("/", "\\")) or not name.strip("./\\")
        if not is_folder and not is_hidden(name):
            yield entry, name


def _kind_of(archive: ZipFile, entry: ZipInfo, name: str) -> Kind:
    """Tell a file by its name or else its content; raises InvalidArchive for a photo that cannot be read."""
    kind = kind_of(name)
    if kind in _TAKEN and not _is_readable(entry):
        raise InvalidArchive(f"The archive's entry {name[:200]!r} is encrypted or uncommonly compressed.")
    # What is no photo by its name and cannot be looked into either is none.
    if not needs_head(name) or not _is_readable(entry):
        return kind
    with archive.open(entry) as file:
        return kind_of(name, file.read(HEAD_BYTES))


def _is_readable(entry: ZipInfo) -> bool:
    """True for what can be expanded in bounded memory: other methods' dictionaries may take 4 GiB."""
    return entry.compress_type in (ZIP_STORED, ZIP_DEFLATED) and not entry.flag_bits & _ENCRYPTED


def _pieces(archive: ZipFile, entry: ZipInfo, name: str, meter: _Meter) -> Iterator[bytes]:
    """Yield an entry's content; nothing of it is read before the first piece is asked for."""
    with _opened(archive, entry, name) as file:
        count = 0
        while count <= meter.limits.entry_bytes:
            with _translated(name):
                piece = file.read(_PIECE)
            if not piece:
                return
            count += len(piece)
            meter.count(len(piece))
            yield piece


def _opened(archive: ZipFile, entry: ZipInfo, name: str) -> IO[bytes]:
    with _translated(name):
        return archive.open(entry)


class _Meter:
    """Counts expanded bytes, and raises TooLarge at the limits."""

    def __init__(self, limits: ArchiveLimits, archive_bytes: int) -> None:
        self.limits = limits
        self._archive_bytes = archive_bytes
        self._expanded = 0

    def count(self, size: int) -> None:
        self._expanded += size
        if self._expanded > self.limits.total_bytes:
            raise TooLarge(f"The archive expands to more than {self.limits.total_bytes} bytes.")
        allowed = max(self.limits.ratio * self._archive_bytes, self.limits.ratio_from)
        if self._expanded > allowed:
            raise TooLarge("The archive expands to far more than its size, as no album of photos does.")


class _DirectoryGuard(io.RawIOBase):
    """A stream for `zipfile`, which reads the whole directory at once and trusts its length.

    Everything else it reads is short, so that a long read is the directory: it is refused
    if it is too long for the entries allowed, or holds more of them.
    """

    def __init__(self, stream: BinaryIO, entries: int) -> None:
        self._stream = stream
        self._entries = entries

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if size <= _SMALL_DIRECTORY:
            # Without a size, it wants the end of the archive: 64 KiB of comment at most.
            return self._stream.read(size if size >= 0 else _SMALL_DIRECTORY)
        if size > self._entries * _DIRECTORY_ENTRY_BYTES:
            raise TooLarge(f"The archive's directory is too long for {self._entries} entries.")
        data = self._stream.read(size)
        if data.count(_DIRECTORY_SIGNATURE) > self._entries:
            raise TooLarge(f"The archive holds more than {self._entries} entries.")
        return data


@contextmanager
def _translated(name: str | None = None) -> Iterator[None]:
    """Say which entry cannot be read, or that the archive cannot."""
    try:
        yield
    except _DAMAGE as exc:
        if name is None:
            raise InvalidArchive from exc
        raise InvalidArchive(f"The archive's entry {name[:200]!r} is damaged.") from exc
