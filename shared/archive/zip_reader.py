"""Read photos out of untrusted ZIP archives, one after another and in bounded space.

The format is PKWARE's APPNOTE.TXT 6.3.10, to which section numbers refer.
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

from fathom.photos.formats import HEAD_BYTES
from fathom.photos.kinds import FileKind, is_hidden, kind_of, needs_head
from fathom.photos.labels import is_labels
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
#: Compressed bytes read at once if `zipfile` expands them unbounded: at worst, bzip2 makes 80 MB of them.
_PIECE_UNBOUNDED = 4096
#: In a directory shorter than this, entries are not counted first; it has 22,000 at most.
_SMALL_DIRECTORY = 2**20
#: Bytes of directory allowed for each entry, its name included.
_DIRECTORY_ENTRY_BYTES = 512
_DIRECTORY_SIGNATURE = b"PK\x01\x02"

#: Files that become images of the job, but for label pictures.
_TAKEN = (FileKind.PHOTO, FileKind.UNREAD)

#: Flags: encrypted, patched (compressed as a difference to another file), header masked (4.4.4).
_ENCRYPTED, _PATCHED, _MASKED = 0x1, 0x20, 0x2000
_BOUNDED = frozenset({ZIP_STORED, ZIP_DEFLATED})
_METHODS = _BOUNDED | {ZIP_BZIP2, ZIP_LZMA}
#: A directory entry up to its name (4.3.12), and the newest version that `zipfile` accepts.
_ENTRY = struct.Struct("<4s6H3L5H2L")
_NEWEST, _UTF8_NAME = 63, 0x800
#: The header before a file's data (4.3.7), and the value that refers to its Zip64 field (4.4.8).
_HEADER = struct.Struct("<4s5H3L2H")
_HEADER_SIGNATURE = b"PK\x03\x04"
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64_FIELD, _UNICODE_PATH_FIELD = 0x0001, 0x7075

#: `zipfile` raises these for archives that are damaged or malicious.
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
    """How much an archive may hold; anything beyond is refused before it takes space."""

    #: Entries of all kinds, folders included.
    entries: int
    #: Bytes of one photo; a longer one fails by itself.
    entry_bytes: int
    #: Bytes of all photos together.
    total_bytes: int
    #: Expanded bytes per byte of the archive. Deflate cannot exceed 1032; real albums stay below 2.
    ratio: float = 200.0
    #: Up to so many expanded bytes the ratio does not matter.
    ratio_from: int = 256 * 2**20

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveLimits:
        return cls(
            # A photo may come with a folder, a macOS companion and a note. An archive's whole directory is
            # in memory, at 600 bytes an entry.
            entries=min(4 * settings.max_job_images, 400_000),
            entry_bytes=min(settings.max_image_bytes, settings.max_request_bytes),
            total_bytes=settings.max_request_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class ArchivedPhoto:
    """A photo, or a label picture, in an archive. Read its pieces once, or never, before the next one."""

    name: str
    #: Bytes, as the archive's directory says; no more can be read.
    size: int
    #: If only this photo is bad, one of the pieces raises ImageError.
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class SkippedEntry:
    """A file in an archive that is no photo."""

    name: str
    kind: FileKind


@dataclass(frozen=True, kw_only=True)
class ListedPhoto:
    """A photo, or a label picture, in an archive that was surveyed but not expanded."""

    name: str
    #: Bytes, as the archive's directory says; no more can be expanded.
    size: int


def survey(stream: BinaryIO, limits: ArchiveLimits) -> Iterator[ListedPhoto | SkippedEntry]:
    """Yield what `expand` would, in the same order, without expanding the photos.

    This finds everything that is wrong with the archive as a whole. The sizes in the directory bind
    `expand` too, so the directory gives a bomb away. `expand` can only find single bad photos.

    Raises InvalidArchive and TooLarge as `expand` does.
    """
    for entry in expand(stream, limits):
        yield entry if isinstance(entry, SkippedEntry) else ListedPhoto(name=entry.name, size=entry.size)


def expand(
    stream: BinaryIO, limits: ArchiveLimits, *, skip: int = 0
) -> Iterator[ArchivedPhoto | SkippedEntry]:
    """Yield the photos, label pictures and other files of a ZIP archive, in the archive's order.

    As in a folder, `fathom.photos.kinds` tells what a file is. Pictures that Fathom does not read count as
    photos, which fail by themselves. Folders, hidden files and system files are passed over silently. Names
    are data: absolute names, names with `..` and repeated names are yielded as they are. The first `skip`
    items are left out without being opened.

    A photo that is damaged, encrypted, too large or compressed by an unknown method fails by itself.
    Raises InvalidArchive if the directory cannot be read, and TooLarge beyond the limits.
    """
    guard = _DirectoryGuard(stream, limits.entries)
    with _translated(), ZipFile(cast(BinaryIO, guard)) as archive:
        guard.is_open = True
        meter = _Meter(limits, stream.seek(0, io.SEEK_END))
        reader = _EntryReader(archive, stream)
        for entry, name in islice(_visible(archive, limits), skip, None):
            if (kind := _kind_of(archive, entry, name)) not in _TAKEN and not is_labels(name):
                yield SkippedEntry(name=name, kind=kind)
                continue
            error = _refusal(entry, limits) or meter.count(entry)
            size = min(entry.file_size, limits.entry_bytes + 1)
            yield ArchivedPhoto(name=name, size=size, pieces=reader.pieces(entry, error))


def _visible(archive: ZipFile, limits: ArchiveLimits) -> Iterator[tuple[ZipInfo, str]]:
    """Yield the entries that a person would see, with their names."""
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise TooLarge(f"The archive holds more than {limits.entries} entries.")
    for entry, name in zip(entries, entry_names(entries), strict=True):
        is_folder = name.endswith(("/", "\\")) or not name.strip("./\\")
        if not is_folder and not is_hidden(name):
            yield entry, name


def _kind_of(archive: ZipFile, entry: ZipInfo, name: str) -> FileKind:
    """Return what a file is, by its name or else by its content."""
    # If the name does not say that a file is a photo, and it cannot be opened, it is none.
    if not needs_head(name) or entry.compress_type not in _BOUNDED or entry.flag_bits & _ENCRYPTED:
        return kind_of(name)
    try:
        with archive.open(entry) as file:
            return kind_of(name, file.read(HEAD_BYTES))
    except _DAMAGE:
        return kind_of(name)


def _refusal(entry: ZipInfo, limits: ArchiveLimits) -> ImageError | None:
    """Return why the directory forbids opening a photo; None if it does not."""
    if entry.flag_bits & (_ENCRYPTED | _MASKED):
        return ImageEncrypted()
    if entry.compress_type not in _METHODS or entry.flag_bits & _PATCHED:
        return UnsupportedCompression()
    if entry.file_size > limits.entry_bytes:
        return ImageTooLarge()
    return None


class _EntryReader:
    """Reads entries whose headers agree with the directory, and whose data no other entry shares."""

    def __init__(self, archive: ZipFile, stream: BinaryIO) -> None:
        self._archive = archive
        self._stream = stream
        # If several entries share an offset, it belongs to the first.
        self._owners = {entry.header_offset: entry for entry in reversed(archive.infolist())}
        self._ends = dict(pairwise([*sorted(self._owners), archive.start_dir]))

    def pieces(self, entry: ZipInfo, error: ImageError | None) -> Iterator[bytes]:
        """Yield an entry's content; nothing is read before the first piece is asked for.

        Raises `error`, if there is one, ImageCorrupt for damage, and UnsupportedCompression for
        a dictionary that does not fit in memory.
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
                raise BadZipFile("The data is shorter than the directory says.")
        except _DAMAGE as exc:
            raise ImageCorrupt("The file is damaged in its archive.") from exc
        except MemoryError as exc:
            raise UnsupportedCompression from exc

    def _check(self, entry: ZipInfo) -> None:
        """Raise BadZipFile unless an entry's header and data are what and where the directory says."""
        self._stream.seek(entry.header_offset)
        header = self._stream.read(_HEADER.size)
        signature, _, flags, method, _, _, *numbers, name, extra = _HEADER.unpack(header)
        if signature != _HEADER_SIGNATURE or method != entry.compress_type or flags & _ENCRYPTED:
            raise BadZipFile("The header differs from the directory.")
        # The numbers are zero if they follow the data, or were not known yet.
        for here, there in zip(numbers, (entry.CRC, entry.compress_size, entry.file_size), strict=True):
            if here not in (0, _IN_ZIP64, there):
                raise BadZipFile("The header differs from the directory.")
        if entry.compress_type == ZIP_STORED and entry.compress_size != entry.file_size:
            raise BadZipFile("An uncompressed file has two sizes.")
        end = entry.header_offset + len(header) + name + extra + entry.compress_size
        if self._owners[entry.header_offset] is not entry or end > self._ends[entry.header_offset]:
            raise BadZipFile("The data overlaps with others.")


class _Meter:
    """Counts the bytes that photos expand to, as the directory gives them."""

    def __init__(self, limits: ArchiveLimits, archive_bytes: int) -> None:
        self._limits = limits
        self._allowed = max(limits.ratio * archive_bytes, limits.ratio_from)
        self._expanded = 0

    def count(self, entry: ZipInfo) -> ImageError | None:
        """Count a photo. If it is a bomb, return its error instead.

        Raises TooLarge if the archive expands to more than it may.
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
    """Guards a stream from `zipfile`, which reads the whole directory at once and trusts its length.

    All other reads are short, so a long read is the directory. It is refused if it is too long for the
    entries allowed, or holds more of them. Faults of one entry for which `zipfile` would refuse the whole
    archive are mended before `zipfile` sees them.
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
        # Without a size, `zipfile` reads the end of the archive: 64 KiB of comment at most.
        data = self._stream.read(size if size >= 0 else _SMALL_DIRECTORY)
        if self.is_open or not data.startswith(_DIRECTORY_SIGNATURE):
            return data
        if size > _SMALL_DIRECTORY and data.count(_DIRECTORY_SIGNATURE) > self._entries:
            raise TooLarge(f"The archive holds more than {self._entries} entries.")
        return _mend_directory(data)


def _mend_directory(data: bytes) -> bytes:
    """Return a directory without the faults of single entries that make `zipfile` refuse the whole archive.

    Each entry is still checked when it is read.
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
            # A field of an unknown kind fills the place.
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
    """Return whether extra fields are complete, and the Zip64 field holds all numbers that refer to it."""
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
    """Turn the errors of `zipfile` into InvalidArchive."""
    try:
        yield
    except _DAMAGE as exc:
        raise InvalidArchive from exc
