from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from shared.archive.zip_reader import ArchivedPhoto, ArchiveLimits, ListedPhoto, SkippedEntry, expand, survey
from shared.errors import ImageError, InvalidArchive, TooLarge

JPEG = b"\xff\xd8\xff\xe0" + b"photo" * 40
LIMITS = ArchiveLimits(entries=100, entry_bytes=2**20, total_bytes=2**23)


def make_zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return buffer.getvalue()


def limits(**changes: Any) -> ArchiveLimits:
    return ArchiveLimits(**{"entries": 100, "entry_bytes": 2**20, "total_bytes": 2**23, **changes})


def photos(data: bytes, within: ArchiveLimits = LIMITS) -> list[tuple[str, bytes]]:
    found = expand(io.BytesIO(data), within)
    return [(entry.name, b"".join(entry.pieces)) for entry in found if isinstance(entry, ArchivedPhoto)]


def outcomes(data: bytes, within: ArchiveLimits = LIMITS) -> list[tuple[str, bytes | str]]:
    """Return the content of each photo, or the code of its error."""
    found = expand(io.BytesIO(data), within)
    return [(entry.name, outcome(entry)) for entry in found if isinstance(entry, ArchivedPhoto)]


def outcome(photo: ArchivedPhoto) -> bytes | str:
    try:
        return b"".join(photo.pieces)
    except ImageError as exc:
        return exc.code


def names(data: bytes) -> list[str]:
    """Return the names of the photos that a survey finds."""
    return [entry.name for entry in listed(data) if isinstance(entry, ListedPhoto)]


def listed(data: bytes, within: ArchiveLimits = LIMITS) -> list[ListedPhoto | SkippedEntry]:
    return list(survey(io.BytesIO(data), within))


def skipped(data: bytes) -> list[str]:
    return [entry.name for entry in expand(io.BytesIO(data), LIMITS) if isinstance(entry, SkippedEntry)]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_photos_come_in_the_order_of_the_archive(method: int) -> None:
    big = bytes(range(256)) * 3000
    data = make_zip(("b/2.jpg", big), ("a/1.PNG", b""), ("3.heic", JPEG), method=method)

    assert photos(data) == [("b/2.jpg", big), ("a/1.PNG", b""), ("3.heic", JPEG)]


def test_two_photos_of_the_same_name_are_both_kept() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = make_zip(("a.jpg", b"first"), ("a.jpg", b"second"))

    assert photos(data) == [("a.jpg", b"first"), ("a.jpg", b"second")]


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd.jpg", "../../up.jpg", "C:\\Users\\x.jpg", "a/../b.jpg", " .jpg", "写真/😀.jpg", "a\nb.jpg"],
)
def test_a_hostile_name_is_kept_as_data(name: str) -> None:
    assert photos(make_zip((name, JPEG))) == [(name, JPEG)]


@pytest.mark.parametrize(
    "name",
    [
        *("__MACOSX/._a.jpg", "a/.DS_Store", ".hidden.jpg", "album/.thumbs/a.jpg", "folder.jpg/", "./", "/"),
        *(
            "@eaDir/a.jpg/thumb.jpg",
            "album/#recycle/a.jpg",
            "album\\@eaDir\\a.jpg",
            "Thumbs.db",
            "..",
            "folder\\",
        ),
    ],
)
def test_hidden_and_system_files_are_ignored_silently(name: str) -> None:
    data = make_zip((name, b"" if name.endswith(("/", "\\", "..")) else JPEG), ("seen.jpg", JPEG))

    assert photos(data) == [("seen.jpg", JPEG)]
    assert skipped(data) == []


@pytest.mark.parametrize("name", ["notes.txt", "album.pdf", "inner.zip", "clip.mov", "README"])
def test_a_file_that_is_no_photo_is_named_as_skipped(name: str) -> None:
    data = make_zip((name, b"no picture at all" * 10), ("a.jpg", JPEG))

    assert skipped(data) == [name]
    assert photos(data) == [("a.jpg", JPEG)]


def test_a_photo_without_a_suffix_is_recognised_by_its_content() -> None:
    assert photos(make_zip(("IMG_0001", JPEG))) == [("IMG_0001", JPEG)]


@pytest.mark.parametrize(
    ("name", "data"),
    [("b.CR3", b"\0\0\0\x18ftypcrx "), ("b.NEF", b"MM\0*"), ("b.psd", b"8BPS"), ("b", b"FUJIFILMCCD-RAW ")],
)
def test_an_unsupported_picture_becomes_an_image_that_fails_by_name(name: str, data: bytes) -> None:
    archive = make_zip((name, data), ("c.MOV", b"\0\0\0\x14ftypqt  "), ("a.xmp", b"<"))

    assert photos(archive) == [(name, data)]
    assert skipped(archive) == ["c.MOV", "a.xmp"]


def test_a_text_named_like_a_photo_becomes_an_image_that_fails() -> None:
    assert photos(make_zip(("notes.jpg", b"text"))) == [("notes.jpg", b"text")]


def zip64() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as entry:
        entry.write(JPEG)
    return buffer.getvalue()


def test_an_empty_archive_holds_nothing() -> None:
    assert photos(make_zip()) == []
    assert listed(make_zip()) == []


def test_zip64_entries_are_read() -> None:
    assert photos(zip64()) == [("a.jpg", JPEG)]


def test_an_archive_behind_other_bytes_is_read() -> None:
    assert photos(b"#!/bin/sh\nself-extracting\n" + make_zip(("a.jpg", JPEG))) == [("a.jpg", JPEG)]


GOOD = make_zip(("a.jpg", JPEG))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an archive",
        b"PK\x05\x06" + b"\xff" * 18,
        GOOD[:-10],
        GOOD.replace(b"PK\x01\x02", b"PK\x01\x00"),
    ],
    ids=["empty", "no zip", "nonsense", "end cut off", "directory damaged"],
)
@pytest.mark.parametrize("read", [photos, listed])
def test_an_archive_whose_directory_cannot_be_read_is_refused(
    read: Callable[[bytes], object], data: bytes
) -> None:
    with pytest.raises(InvalidArchive):
        read(data)


# --- photos that fail alone ---------------------------------------------------------


class TamperedArchive:
    """An archive of three photos. The second one's header, entry or data is tampered with."""

    def __init__(self, method: int = zipfile.ZIP_STORED, content: bytes = JPEG) -> None:
        self.data = bytearray(make_zip(("0.jpg", JPEG), ("1.jpg", content), ("2.jpg", JPEG), method=method))
        self.header = self.data.index(b"PK\x03\x04", 1)
        self.entry = self.data.index(b"PK\x01\x02", self.data.index(b"PK\x01\x02") + 1)

    def put(self, at: int, form: str, value: int) -> TamperedArchive:
        struct.pack_into(form, self.data, at, value)
        return self

    def in_header(self, at: int, form: str, value: int) -> TamperedArchive:
        return self.put(self.header + at, form, value)

    def in_entry(self, at: int, form: str, value: int) -> TamperedArchive:
        return self.put(self.entry + at, form, value)

    def in_both(self, at: int, form: str, value: int) -> TamperedArchive:
        """Write a value at an offset of the header, and two bytes further in the directory."""
        return self.in_header(at, form, value).in_entry(at + 2, form, value)

    def with_extra(self, extra: bytes) -> TamperedArchive:
        """Add extra fields to the directory only."""
        end = self.data.index(b"PK\x05\x06")
        size: int = struct.unpack_from("<L", self.data, end + 12)[0]
        self.put(end + 12, "<L", size + len(extra)).in_entry(30, "<H", len(extra))
        at = self.entry + 46 + len("1.jpg")
        self.data[at:at] = extra
        return self


FLAGS, METHOD, CHECKSUM, PACKED, SIZE, CONTENT = 6, 8, 14, 18, 22, 30 + len("1.jpg")
#: Offsets of fields that only the directory has.
VERSION, OFFSET = 6, 42
DEFLATED, BZIP2, LZMA = zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
BIG = b"\xff\xd8\xff" + bytes(range(256)) * 400


def overlapping() -> TamperedArchive:
    """Return an archive whose second photo reaches into the third, with a correct checksum."""
    album = TamperedArchive()
    third = album.data.index(b"PK\x03\x04", album.header + 1)
    data = bytes(album.data[album.header + CONTENT : third + 30])
    album.in_both(PACKED, "<L", len(data)).in_both(SIZE, "<L", len(data))
    return album.in_both(CHECKSUM, "<L", zlib.crc32(data))


DAMAGED = {
    "a byte of what is stored": TamperedArchive().in_header(CONTENT + 9, "<B", 7),
    "a byte of what is compressed": TamperedArchive(DEFLATED, BIG).in_header(CONTENT + 99, "<L", 7),
    "a byte of bzip2": TamperedArchive(BZIP2, BIG).in_header(CONTENT + 40, "<L", 7),
    "a byte of lzma": TamperedArchive(LZMA, BIG).in_header(CONTENT + 9, "<L", 7),
    "the checksum": TamperedArchive().in_both(CHECKSUM, "<L", 7),
    "the header's checksum": TamperedArchive().in_header(CHECKSUM, "<L", 7),
    "the header's size": TamperedArchive().in_header(SIZE, "<L", 7),
    "the header's compressed size": TamperedArchive().in_header(PACKED, "<L", 7),
    "the header's method": TamperedArchive().in_header(METHOD, "<H", DEFLATED),
    "the header's encryption": TamperedArchive().in_header(FLAGS, "<H", 1),
    "the header's name": TamperedArchive().in_header(30, "<B", ord("x")),
    "the header's signature": TamperedArchive().in_header(0, "<L", 7),
    "no deflated data": TamperedArchive().in_both(METHOD, "<H", DEFLATED),
    "too small a size": TamperedArchive(DEFLATED, BIG).in_both(SIZE, "<L", 7),
    "too large a size": TamperedArchive(DEFLATED, BIG).in_both(SIZE, "<L", len(BIG) + 1),
    "too small a size of what is stored": TamperedArchive().in_both(SIZE, "<L", 7),
    "too small a compressed size": TamperedArchive(DEFLATED, BIG).in_both(PACKED, "<L", 7),
    "no compressed data": TamperedArchive(DEFLATED, BIG).in_both(PACKED, "<L", 0),
    "data up to the end": TamperedArchive(DEFLATED, BIG).in_both(PACKED, "<L", 2**31),
    "data of the next photo": overlapping(),
    "the place of another photo": TamperedArchive().in_entry(OFFSET, "<L", 0),
    "a place beyond the end": TamperedArchive().in_entry(OFFSET, "<L", 2**31),
    "a place in the directory": TamperedArchive().in_entry(OFFSET, "<L", TamperedArchive().entry),
    "no UTF-8 where it is said": TamperedArchive().in_both(FLAGS, "<H", 0x800).in_both(44, "<B", 0xFF),
}


@pytest.mark.parametrize("album", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_photo_fails_alone(album: TamperedArchive) -> None:
    found = outcomes(bytes(album.data))

    assert [what for _, what in found] == [JPEG, "image_corrupt", JPEG]
    assert names(bytes(album.data)) == [name for name, _ in found]


@pytest.mark.parametrize(
    ("album", "code"),
    [
        (TamperedArchive().in_both(FLAGS, "<H", 0x1), "image_encrypted"),
        (TamperedArchive().in_both(FLAGS, "<H", 0x41), "image_encrypted"),
        (TamperedArchive().in_both(FLAGS, "<H", 0x1).in_both(METHOD, "<H", 99), "image_encrypted"),
        (TamperedArchive().in_both(FLAGS, "<H", 0x20), "unsupported_compression"),
        *((TamperedArchive().in_both(METHOD, "<H", method), "unsupported_compression") for method in (1, 6, 9, 93, 95, 98)),
        (TamperedArchive().in_entry(24, "<L", 2**31), "image_too_large"),
        (TamperedArchive().in_entry(24, "<L", 2**32 - 1), "image_too_large"),
        (TamperedArchive(DEFLATED, bytes(2**20 + 1)), "image_too_large"),
    ],
    ids=["zipcrypto", "strong", "aes", "patched", "shrink", "implode", "deflate64", "zstd", "xz", "ppmd", "2_GiB", "4_GiB", "long"],
)  # fmt: skip
def test_an_encrypted_oversized_or_unsupported_entry_fails_alone(album: TamperedArchive, code: str) -> None:
    assert outcomes(bytes(album.data)) == [("0.jpg", JPEG), ("1.jpg", code), ("2.jpg", JPEG)]
    assert names(bytes(album.data)) == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize("method", [BZIP2, LZMA])
def test_photos_compressed_by_other_methods_are_read(method: int) -> None:
    assert photos(bytes(TamperedArchive(method, BIG).data)) == [
        ("0.jpg", JPEG),
        ("1.jpg", BIG),
        ("2.jpg", JPEG),
    ]


@pytest.mark.parametrize(
    "album",
    [
        TamperedArchive().in_entry(VERSION, "<H", 99),
        TamperedArchive().with_extra(struct.pack("<HHL", 1, 4, 7)),
        TamperedArchive().with_extra(struct.pack("<HHL", 1, 40, 7)),
        TamperedArchive().with_extra(struct.pack("<HHBL", 0x7075, 5, 1, 7)),
        TamperedArchive().with_extra(struct.pack("<HHBLH", 0x7075, 7, 1, zlib.crc32(b"1.jpg"), 0xFFFF)),
        TamperedArchive().with_extra(b"\x01\0\x01"),
    ],
    ids=["a new version", "zip64", "too short", "no unicode path", "no unicode", "three bytes"],
)
def test_a_photo_is_read_whatever_irrelevant_fields_its_directory_entry_has(album: TamperedArchive) -> None:
    assert photos(bytes(album.data)) == [("0.jpg", JPEG), ("1.jpg", JPEG), ("2.jpg", JPEG)]


def test_a_photo_whose_size_in_zip64_is_missing_fails_alone() -> None:
    album = TamperedArchive().in_entry(24, "<L", 2**32 - 1).with_extra(struct.pack("<HHL", 1, 4, 7))

    assert [what for _, what in outcomes(bytes(album.data))] == [JPEG, "image_too_large", JPEG]


def test_a_bomb_among_photos_fails_alone() -> None:
    bomb = bytes(TamperedArchive(DEFLATED, bytes(2**20)).data)

    assert [what for _, what in outcomes(bomb, limits(ratio_from=2**19))] == [JPEG, "image_too_large", JPEG]
    assert photos(bomb)[1] == ("1.jpg", bytes(2**20)), "A large white picture is no bomb."


def test_a_dictionary_that_memory_cannot_hold_fails_its_photo_alone() -> None:
    album = TamperedArchive(LZMA, BIG).in_header(CONTENT + 5, "<L", 2**32 - 1)

    _, (_, second), third = outcomes(bytes(album.data))

    assert second in (BIG, "unsupported_compression")
    assert third == ("2.jpg", JPEG)


def test_entries_at_the_same_place_are_read_once() -> None:
    """A bomb may name the same bytes many times."""
    data = make_zip(("a.jpg", JPEG))
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, 3 * (end - at), at, 0)

    assert outcomes(data[:at] + 3 * data[at:end] + record) == [
        ("a.jpg", JPEG),
        ("a.jpg", "image_corrupt"),
        ("a.jpg", "image_corrupt"),
    ]


def test_an_archive_without_its_beginning_keeps_the_remaining_photos() -> None:
    assert [what for _, what in outcomes(bytes(TamperedArchive().data[30:]))] == ["image_corrupt", JPEG, JPEG]


def test_an_unreadable_entry_that_is_not_named_like_a_photo_is_skipped() -> None:
    data = bytearray(make_zip(("IMG_1", JPEG), ("a.jpg", JPEG)))
    data[0] ^= 0xFF

    assert skipped(bytes(data)) == ["IMG_1"]
    assert photos(bytes(data)) == [("a.jpg", JPEG)]


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
@pytest.mark.parametrize("change", [lambda b: b ^ 0xFF, lambda b: 0xFF, lambda b: 0])
def test_a_damaged_byte_never_raises_anything_else(at: int, change: Callable[[int], int]) -> None:
    changed = bytearray(GOOD)
    changed[at] = change(changed[at])
    with suppress(InvalidArchive, TooLarge):
        found = outcomes(bytes(changed))

        assert len(found) <= 1
        assert all(isinstance(what, str) or what == JPEG for _, what in found)


def test_an_encrypted_note_does_not_matter() -> None:
    data = bytearray(make_zip(("note.txt", b"secret"), ("a.jpg", JPEG)))
    data[FLAGS] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1

    assert skipped(bytes(data)) == ["note.txt"]
    assert photos(bytes(data)) == [("a.jpg", JPEG)]


def test_an_archive_that_expands_beyond_the_total_is_refused() -> None:
    data = make_zip(*((f"{n}.jpg", bytes(2**20)) for n in range(9)), method=zipfile.ZIP_DEFLATED)

    with pytest.raises(TooLarge, match="more than 8388608 bytes"):
        photos(data)


def test_more_entries_than_allowed_are_refused() -> None:
    data = make_zip(*((f"{n}.jpg", b"") for n in range(101)))

    with pytest.raises(TooLarge, match="more than 100 entries"):
        photos(data)


def test_a_directory_of_many_small_entries_is_refused_before_it_is_parsed() -> None:
    entry = make_zip(("a.jpg", b""))
    at, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    directory = entry[at:end] * 30_000
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 30_000, 30_000, len(directory), at, 0)

    with pytest.raises(TooLarge):
        photos(entry[:at] + directory + record)
    with pytest.raises(TooLarge, match="more than 20000 entries"):
        photos(entry[:at] + directory + record, limits(entries=20_000))


# --- looking without expanding ------------------------------------------------------


def mixed() -> bytes:
    return make_zip(
        ("b/2.jpg", JPEG),
        ("notes.txt", b"text"),
        ("IMG_0001", JPEG),
        ("__MACOSX/._2.jpg", b"x"),
        ("text.png", b"no picture"),
        ("folder/", b""),
        ("inner.zip", make_zip(("deep.jpg", JPEG))),
        ("empty.jpg", b""),
        method=zipfile.ZIP_DEFLATED,
    )


def test_an_inspection_finds_what_expanding_yields_in_the_same_order() -> None:
    found = listed(mixed())
    expanded = [
        ListedPhoto(name=entry.name, size=len(b"".join(entry.pieces)))
        if isinstance(entry, ArchivedPhoto)
        else entry
        for entry in expand(io.BytesIO(mixed()), LIMITS)
    ]

    assert found == expanded
    assert [entry.name for entry in found if isinstance(entry, ListedPhoto)] == [
        "b/2.jpg",
        "IMG_0001",
        "text.png",
        "empty.jpg",
    ]


@pytest.mark.parametrize(
    ("entries", "within"),
    [
        ([(f"{n}.jpg", b"") for n in range(101)], LIMITS),
        ([(f"{n}.jpg", bytes(2**20)) for n in range(9)], LIMITS),
    ],
    ids=["entries", "bytes"],
)
def test_an_inspection_finds_a_bomb_by_its_directory(
    entries: list[tuple[str, bytes]], within: ArchiveLimits
) -> None:
    data = make_zip(*entries, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(TooLarge):
        listed(data, within)
    with pytest.raises(TooLarge):
        photos(data, within)


def test_an_understated_size_limits_what_is_read() -> None:
    """Expanding never yields more than an inspection allowed."""
    data = bytearray(make_zip(("a.jpg", bytes(50_000)), method=zipfile.ZIP_DEFLATED))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)

    assert listed(bytes(data)) == [ListedPhoto(name="a.jpg", size=10)]
    assert outcomes(bytes(data)) == [("a.jpg", "image_corrupt")]


def test_entries_that_share_bytes_all_count_towards_the_total() -> None:
    """A bomb whose entries overlap is small, and expands as if they did not."""
    inner = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = inner.compress(bytes(2**20)) + inner.flush()
    header = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(bytes(2**20)), len(kernel), 2**20, 5, 0
    )
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, zlib.crc32(bytes(2**20)), len(kernel), 2**20, 5, 0, 0, 0, 0, 0, 0)
        + b"a.jpg"
        for _ in range(50)
    )  # fmt: skip
    start = header + b"a.jpg" + kernel
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 50, 50, len(directory), len(start), 0)
    with pytest.raises(TooLarge):
        listed(start + directory + end)


def test_skipped_entries_are_not_read() -> None:
    data = mixed()
    names = [entry.name for entry in expand(io.BytesIO(data), LIMITS)]

    for skip in range(len(names) + 2):
        assert [entry.name for entry in expand(io.BytesIO(data), LIMITS, skip=skip)] == names[skip:]
