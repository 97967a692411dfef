"""Photos out of ZIP archives that anybody may have made, one after another and in bounded space.

The format is PKWARE's APPNOTE.TXT 6.3.10; section numbers below are its own.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import BinaryIO, cast
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from photos.formats import HEAD_BYTES
from photos.kinds import Kind, is_hidden, kind_of, needs_head
from shared.archive.zip_names import entry_names
from shared.errors import (
    ImageCorrupt,
    ImageEncrypted,
    ImageError,
    ImageTooLarge,
    InvalidArchive,
    TooLarge,
    UnsupportedCompression,
)
from shared.settings import Settings

#: Bytes read from an entry at once.
_PIECE = 256 * 2**10
#: Compressed bytes that `zipfile` expands at once without a bound: bzip2 makes 80 MB of them at worst.
_PIECE_UNBOUNDED = 4096
#: A directory shorter than this is read without a look at its entries (22,000 at most).
_SMALL_DIRECTORY = 2**20
#: Bytes of directory allowed for each entry, its name included.
_DIRECTORY_ENTRY_BYTES = 512
_DIRECTORY_SIGNATURE = b"PK\x01\x02"

#: What becomes an image of the job.
_TAKEN = (Kind.PHOTO, Kind.UNREAD)

#: Encrypted, patched (compressed as the difference to another file) and with a masked header (4.4.4).
_ENCRYPTED, _PATCHED, _MASKED = 0x1, 0x20, 0x2000
_BOUNDED = frozenset({ZIP_STORED, ZIP_DEFLATED})
_METHODS = _BOUNDED | {ZIP_BZIP2, ZIP_LZMA}
#: An entry of the directory before its name (4.3.12), and the newest version of it that `zipfile` takes.
_ENTRY = struct.Struct("<4s6H3L5H2L")
_NEWEST, _UTF8_NAME = 63, 0x800
#: A file's header before its data (4.3.7), and the value that stands for one in its Zip64 field (4.4.8).
_HEADER = struct.Struct("<4s5H3L2H")
_HEADER_SIGNATURE = b"PK\x03\x04"
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64_FIELD, _UNICODE_PATH_FIELD = 0x0001, 0x7075

#: What `zipfile` raises for archives that are damaged or made to do harm.
_DAMAGE = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may hold; what exceeds it is refused before it takes space."""

    #: Entries of all kinds, folders included.
    entries: int
    #: Bytes of one photo; one that is longer fails alone.
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
            entry_bytes=min(settings.max_image_bytes, settings.max_request_bytes),
            total_bytes=settings.max_request_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class ArchivedPhoto:
    """A photo in an archive. Its pieces can be read once, or left, before the next photo is asked for."""

    name: str
    #: Bytes, as the archive's directory has it, which are all that can be read.
    size: int
    #: What is wrong with this photo alone is an ImageError at the first piece, or at a later one.
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

    Everything that speaks against the archive as a whole shows here: what the directory says about
    sizes binds `expand` too, so that a bomb is found by its directory. What is left for `expand` to
    find is wrong with single photos.

    Raises InvalidArchive and TooLarge as `expand` does.
    """
    for entry in expand(stream, limits):
        yield entry if isinstance(entry, SkippedEntry) else ListedPhoto(name=entry.name, size=entry.size)


def expand(
    stream: BinaryIO, limits: ArchiveLimits, *, skip: int = 0
) -> Iterator[ArchivedPhoto | SkippedEntry]:
    """Yield the photos of a ZIP archive in its own order, and the files that are none.

    As in a folder, `photos.kinds` tells what a file is. Pictures that Fathom does not read are photos here:
    they fail by themselves. Folders, hidden files and what systems add are passed over in silence.
    Names are data: absolute ones, ones with `..` and repeated ones come as they are. The first `skip`
    of what would be yielded is not even looked into.

    A photo that is damaged, encrypted, too large or compressed by an unknown method fails alone.
    Raises InvalidArchive for an archive whose directory cannot be read, and TooLarge beyond the limits.
    """
    guard = _DirectoryGuard(stream, limits.entries)
    with _translated(), ZipFile(cast(BinaryIO, guard)) as archive:
        guard.is_open = True
        meter = _Meter(limits, stream.seek(0, io.SEEK_END))
        reader = _EntryReader(archive, stream)
        for entry, name in islice(_visible(archive, limits), skip, None):
            if (kind := _kind_of(archive, entry, name)) not in _TAKEN:
                yield SkippedEntry(name=name, kind=kind)
                continue
            error = _refusal(entry, limits) or meter.count(entry)
            size = min(entry.file_size, limits.entry_bytes + 1)
            yield ArchivedPhoto(name=name, size=size, pieces=reader.pieces(entry, error))


def _visible(archive: ZipFile, limits: ArchiveLimits) -> Iterator[tuple[ZipInfo, str]]:
    """Yield the entries that a person sees, with their names."""
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise TooLarge(f"The archive holds more than {limits.entries} entries.")
    for entry, name in zip(entries, entry_names(entries), strict=True):
        is_folder = name.endswith(("/", "\\")) or not name.strip("./\\")
        if not is_folder and not is_hidden(name):
            yield entry, name


def _kind_of(archive: ZipFile, entry: ZipInfo, name: str) -> Kind:
    """Tell a file by its name or else its content."""
    # What is no photo by its name and cannot be looked into either is none.
    if not needs_head(name) or entry.compress_type not in _BOUNDED or entry.flag_bits & _ENCRYPTED:
        return kind_of(name)
    try:
        with archive.open(entry) as file:
            return kind_of(name, file.read(HEAD_BYTES))
    except _DAMAGE:
        return kind_of(name)


def _refusal(entry: ZipInfo, limits: ArchiveLimits) -> ImageError | None:
    """Return why a photo is not even to be opened, as the directory has it; None if it is."""
    if entry.flag_bits & (_ENCRYPTED | _MASKED):
        return ImageEncrypted()
    if entry.compress_type not in _METHODS or entry.flag_bits & _PATCHED:
        return UnsupportedCompression()
    if entry.file_size > limits.entry_bytes:
        return ImageTooLarge()
    return None


class _EntryReader:
    """Reads entries whose headers bear out what the directory says, and whose data is nobody else's."""

    def __init__(self, archive: ZipFile, stream: BinaryIO) -> None:
        self._archive = archive
        self._stream = stream
        # Of entries at the same place, the first has it.
        self._owners = {entry.header_offset: entry for entry in reversed(archive.infolist())}
        self._ends = dict(pairwise([*sorted(self._owners), archive.start_dir]))

    def pieces(self, entry: ZipInfo, error: ImageError | None) -> Iterator[bytes]:
        """Yield an entry's content, nothing of which is read before the first piece is asked for.

        Raises `error`, if there is one, ImageCorrupt for damage, and UnsupportedCompression for
        a dictionary that memory cannot hold.
        """
        if error is not None:
            raise error
        piece, left = _PIECE if entry.compress_type in _BOUNDED else _PIECE_UNBOUNDED, entry.file_size
        try:
            self._check(entry)
            with self._archive.open(entry) as file:
                while data := file.read(piece):
                    left -= len(data)
                    yield data
            if left:
                raise BadZipFile("There is less than the directory says.")
        except _DAMAGE as exc:
            raise ImageCorrupt("The file is damaged in its archive.") from exc
        except MemoryError as exc:
            raise UnsupportedCompression from exc

    def _check(self, entry: ZipInfo) -> None:
        """Raise BadZipFile unless an entry's header and its data are where and what the directory says."""
        self._stream.seek(entry.header_offset)
        header = self._stream.read(_HEADER.size)
        signature, _, flags, method, _, _, *numbers, name, extra = _HEADER.unpack(header)
        if signature != _HEADER_SIGNATURE or method != entry.compress_type or flags & _ENCRYPTED:
            raise BadZipFile("The header is not the directory's.")
        # Zeros stand there if the numbers follow the data, or were not known yet.
        for here, there in zip(numbers, (entry.CRC, entry.compress_size, entry.file_size), strict=True):
            if here not in (0, _IN_ZIP64, there):
                raise BadZipFile("The header is not the directory's.")
        if entry.compress_type == ZIP_STORED and entry.compress_size != entry.file_size:
            raise BadZipFile("What is not compressed has two sizes.")
        end = entry.header_offset + len(header) + name + extra + entry.compress_size
        if self._owners[entry.header_offset] is not entry or end > self._ends[entry.header_offset]:
            raise BadZipFile("The data overlaps with others.")


class _Meter:
    """Counts what photos expand to, by the directory."""

    def __init__(self, limits: ArchiveLimits, archive_bytes: int) -> None:
        self._limits = limits
        self._allowed = max(limits.ratio * archive_bytes, limits.ratio_from)
        self._expanded = 0

    def count(self, entry: ZipInfo) -> ImageError | None:
        """Count a photo, unless it is a bomb: then that is returned.

        Raises TooLarge for an archive that holds more than it may.
        """
        expanded = self._expanded + entry.file_size
        if expanded > self._allowed and entry.file_size > self._limits.ratio * entry.compress_size:
            return ImageTooLarge(
                "The file expands to far more than its size in the archive, as no photo does."
            )
        if expanded > self._limits.total_bytes:
            raise TooLarge(f"The archive expands to more than {self._limits.total_bytes} bytes.")
        self._expanded = expanded
        return None


class _DirectoryGuard(io.RawIOBase):
    """A stream for `zipfile`, which reads the whole directory at once and trusts its length.

    Everything else it reads is short, so that a long read is the directory: it is refused
    if it is too long for the entries allowed, or holds more of them. Of what it refuses the whole
    archive for, it does not get to see what concerns one entry.
    """

    def __init__(self, stream: BinaryIO, entries: int) -> None:
        self._stream = stream
        self._entries = entries
        #: Whether `zipfile` has read the directory.
        self.is_open = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if size > max(_SMALL_DIRECTORY, self._entries * _DIRECTORY_ENTRY_BYTES):
            raise TooLarge(f"The archive's directory is too long for {self._entries} entries.")
        # Without a size, it wants the end of the archive: 64 KiB of comment at most.
        data = self._stream.read(size if size >= 0 else _SMALL_DIRECTORY)
        if self.is_open or not data.startswith(_DIRECTORY_SIGNATURE):
            return data
        if size > _SMALL_DIRECTORY and data.count(_DIRECTORY_SIGNATURE) > self._entries:
            raise TooLarge(f"The archive holds more than {self._entries} entries.")
        return _mend_directory(data)


def _mend_directory(data: bytes) -> bytes:
    """Return a directory without what makes `zipfile` refuse the archive for one of its entries.

    What such an entry then says is checked when it is read, as of any other.
    """
    mended, at = bytearray(data), 0
    while at + _ENTRY.size <= len(data) and data.startswith(_DIRECTORY_SIGNATURE, at):
        fields = list(_ENTRY.unpack_from(data, at))
        name_end = at + _ENTRY.size + fields[10]
        extra_end = name_end + fields[11]
        fields[2] = min(fields[2], _NEWEST)
        if not _is_utf8(data[at + _ENTRY.size : name_end]):
            fields[3] &= ~_UTF8_NAME
        if not _is_sound_extra(data[name_end:extra_end], fields[8:10] + fields[16:]):
            # One field of a kind that nobody knows keeps the place.
            struct.pack_into("<HH", mended, name_end, 0, fields[11] - 4)
        _ENTRY.pack_into(mended, at, *fields)
        at = extra_end + fields[12]
    return bytes(mended)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_sound_extra(extra: bytes, numbers: list[int]) -> bool:
    """Return whether extra fields are complete, and the Zip64 field holds the numbers that are in it."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if len(field) < size:
            return False
        if kind == _ZIP64_FIELD and size < 8 * numbers.count(_IN_ZIP64):
            return False
        if kind == _UNICODE_PATH_FIELD and (size < 5 or not _is_utf8(field[5:])):
            return False
    return True


@contextmanager
def _translated() -> Iterator[None]:
    """Say that an archive cannot be read, for whatever reason `zipfile` gives."""
    try:
        yield
    except _DAMAGE as exc:
        raise InvalidArchive from exc
