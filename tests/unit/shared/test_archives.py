from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from shared.archives import ArchivedPhoto, ArchiveLimits, ListedPhoto, SkippedEntry, expand, survey
from shared.errors import InvalidArchive, TooLarge

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
def test_a_name_is_data(name: str) -> None:
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
def test_what_a_person_does_not_see_is_passed_over_in_silence(name: str) -> None:
    data = make_zip((name, b"" if name.endswith(("/", "\\", "..")) else JPEG), ("seen.jpg", JPEG))

    assert photos(data) == [("seen.jpg", JPEG)]
    assert skipped(data) == []


@pytest.mark.parametrize("name", ["notes.txt", "album.pdf", "inner.zip", "clip.mov", "README"])
def test_a_file_that_is_no_photo_is_named_as_skipped(name: str) -> None:
    data = make_zip((name, b"no picture at all" * 10), ("a.jpg", JPEG))

    assert skipped(data) == [name]
    assert photos(data) == [("a.jpg", JPEG)]


def test_a_photo_without_a_suffix_is_told_by_its_content() -> None:
    assert photos(make_zip(("IMG_0001", JPEG))) == [("IMG_0001", JPEG)]


@pytest.mark.parametrize(
    ("name", "data"),
    [("b.CR3", b"\0\0\0\x18ftypcrx "), ("b.NEF", b"MM\0*"), ("b.psd", b"8BPS"), ("b", b"FUJIFILMCCD-RAW ")],
)
def test_a_picture_that_is_not_read_is_taken_so_that_it_fails_by_name(name: str, data: bytes) -> None:
    archive = make_zip((name, data), ("c.MOV", b"\0\0\0\x14ftypqt  "), ("a.xmp", b"<"))

    assert photos(archive) == [(name, data)]
    assert skipped(archive) == ["c.MOV", "a.xmp"]


def test_a_text_called_photo_is_taken_so_that_its_owner_hears_of_it() -> None:
    assert photos(make_zip(("notes.jpg", b"text"))) == [("notes.jpg", b"text")]


def replace_name(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


def test_a_name_in_code_page_437_is_read_as_such() -> None:
    data = replace_name(make_zip(("XXX.jpg", JPEG)), b"XXX", "é\u2591ß".encode("cp437"))

    assert photos(data) == [("é\u2591ß.jpg", JPEG)]


def test_a_name_in_utf8_without_its_flag_is_read_as_utf8() -> None:
    data = replace_name(make_zip(("XXXXXX.jpg", JPEG)), b"XXXXXX", "写真".encode())

    assert photos(data) == [("写真.jpg", JPEG)]


@pytest.mark.parametrize(("of", "name"), [(b"photo.jpg", "фото.jpg"), (b"other.jpg", "photo.jpg")])
def test_a_unicode_path_field_counts_if_it_was_made_for_the_name(of: bytes, name: str) -> None:
    field = struct.pack("<BL", 1, zlib.crc32(of)) + "фото.jpg".encode()
    info = zipfile.ZipInfo("photo.jpg")
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, JPEG)

    assert photos(buffer.getvalue()) == [(name, JPEG)]


def zip64() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as entry:
        entry.write(JPEG)
    return buffer.getvalue()


def test_zip64_entries_are_read() -> None:
    assert photos(zip64()) == [("a.jpg", JPEG)]


def test_an_archive_behind_other_bytes_is_read() -> None:
    assert photos(b"#!/bin/sh\nself-extracting\n" + make_zip(("a.jpg", JPEG))) == [("a.jpg", JPEG)]


def with_flag(data: bytes, flag: int) -> bytes:
    changed = bytearray(data)
    changed[6] |= flag
    at = data.index(b"PK\x01\x02")
    changed[at + 8] |= flag
    return bytes(changed)


def with_method(data: bytes, method: int) -> bytes:
    changed = bytearray(data)
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<H", changed, 8, method)
    struct.pack_into("<H", changed, at + 10, method)
    return bytes(changed)


GOOD = make_zip(("a.jpg", JPEG))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an archive",
        b"PK\x05\x06" + b"\xff" * 18,
        GOOD[:-10],
        GOOD[30:],
        GOOD.replace(b"PK\x01\x02", b"PK\x01\x00"),
        GOOD.replace(b"photo", b"fotos", 1),
        with_flag(GOOD, 0x1),
        with_method(GOOD, zipfile.ZIP_LZMA),
        with_method(GOOD, zipfile.ZIP_BZIP2),
        with_method(GOOD, 9),
        with_method(GOOD, zipfile.ZIP_DEFLATED),
    ],
    ids=[
        "empty",
        "no_zip",
        "end_record_of_nonsense",
        "end_cut_off",
        "start_cut_off",
        "directory_damaged",
        "checksum_wrong",
        "encrypted",
        "lzma",
        "bzip2",
        "deflate64",
        "not_deflated",
    ],
)
def test_an_archive_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        photos(data)


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
@pytest.mark.parametrize("change", [lambda b: b ^ 0xFF, lambda b: 0xFF, lambda b: 0])
def test_a_damaged_byte_never_raises_anything_else(at: int, change: Callable[[int], int]) -> None:
    changed = bytearray(GOOD)
    changed[at] = change(changed[at])
    with suppress(InvalidArchive, TooLarge):
        assert len(photos(bytes(changed))) <= len(photos(GOOD))


def test_an_encrypted_note_does_not_matter() -> None:
    note = with_flag(make_zip(("note.txt", b"secret"), ("a.jpg", JPEG)), 0x1)

    assert photos(note) == [("a.jpg", JPEG)]


def test_a_photo_that_is_too_long_ends_just_beyond_the_limit() -> None:
    data = make_zip(("a.jpg", bytes(3 * 2**20)), ("b.jpg", JPEG), method=zipfile.ZIP_DEFLATED)
    (first, content), second = photos(data, limits(entry_bytes=1000))

    assert first == "a.jpg"
    assert 1000 < len(content) <= 1000 + 256 * 2**10
    assert second == ("b.jpg", JPEG)


def test_an_archive_that_expands_beyond_the_total_is_refused() -> None:
    data = make_zip(*((f"{n}.jpg", bytes(2**20)) for n in range(9)), method=zipfile.ZIP_DEFLATED)

    with pytest.raises(TooLarge, match="more than 8388608 bytes"):
        photos(data)


def test_an_archive_that_expands_far_beyond_its_size_is_refused() -> None:
    data = make_zip(("a.bmp", bytes(2**20)), method=zipfile.ZIP_DEFLATED)

    with pytest.raises(TooLarge, match="far more than its size"):
        photos(data, limits(ratio_from=2**19))


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


def listed(data: bytes, within: ArchiveLimits = LIMITS) -> list[ListedPhoto | SkippedEntry]:
    return list(survey(io.BytesIO(data), within))


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


def test_a_look_finds_what_expanding_yields_in_the_same_order() -> None:
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
    "data",
    [b"", b"not an archive", GOOD[:-10], with_flag(GOOD, 0x1), with_method(GOOD, zipfile.ZIP_LZMA)],
    ids=["empty", "no_zip", "end_cut_off", "encrypted", "lzma"],
)
def test_a_look_refuses_what_cannot_be_expanded(data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        listed(data)


@pytest.mark.parametrize(
    ("entries", "within"),
    [
        ([(f"{n}.jpg", b"") for n in range(101)], LIMITS),
        ([(f"{n}.jpg", bytes(2**20)) for n in range(9)], LIMITS),
        ([("a.bmp", bytes(2**20 - 1))], limits(ratio_from=2**19)),
    ],
    ids=["entries", "bytes", "ratio"],
)
def test_a_look_finds_a_bomb_by_its_directory(
    entries: list[tuple[str, bytes]], within: ArchiveLimits
) -> None:
    data = make_zip(*entries, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(TooLarge):
        listed(data, within)
    with pytest.raises(TooLarge):
        photos(data, within)


def test_a_directory_that_understates_a_size_cannot_make_more_of_it() -> None:
    """What a look let pass is the most that expanding yields."""
    data = bytearray(make_zip(("a.jpg", bytes(50_000)), method=zipfile.ZIP_DEFLATED))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)

    assert listed(bytes(data)) == [ListedPhoto(name="a.jpg", size=10)]
    with pytest.raises(InvalidArchive):
        photos(bytes(data))


def test_entries_that_share_their_bytes_count_each() -> None:
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
