from __future__ import annotations

import pytest

from fathom.photos.kinds import FileKind, is_hidden, kind_of, needs_head, why_unread

JPEG = b"\xff\xd8\xff\xe0"
TIFF = b"II*\0\x08\0\0\0"
BIG_TIFF = b"MM\0*\0\0\0\x08"


def boxed(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(12)


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir/a.jpg", "x/@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", ".thumbnails/a.jpg", "#recycle/a.jpg"),
        *(".Trash-1000/files/a.jpg", ".Trashes/a.jpg", "$RECYCLE.BIN/a.jpg", "$Recycle.Bin/S-1-5/a.jpg"),
        *("System Volume Information/a.jpg", "__MACOSX/a.jpg", "x/__MACOSX/a.jpg", "._a.jpg", "x/._a.jpg"),
        *("Thumbs.db", "x/thumbs.DB", ".DS_Store", "desktop.ini", ".hidden/x/a.jpg", "x\\@eaDir\\a.jpg"),
    ],
)
def test_system_files_are_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize(
    "name", ["a.jpg", "./a.jpg", "x/../a.jpg", "eaDir/a.jpg", "Thumbs.db.jpg", "recycle/a.jpg"]
)
def test_other_files_are_visible(name: str) -> None:
    assert not is_hidden(name)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.jpg", b"anything", FileKind.PHOTO),
        ("IMG_1", JPEG, FileKind.PHOTO),
        ("scan.dat", TIFF, FileKind.PHOTO),
        ("a.HEIC", boxed(b"heic"), FileKind.PHOTO),
        ("burst.heics", boxed(b"hevc"), FileKind.PHOTO),
        # A supported picture may have the suffix of an unsupported one.
        ("favicon.ico", b"\x89PNG\r\n\x1a\n", FileKind.PHOTO),
        ("IMG_1.CR3", JPEG, FileKind.UNREAD),
        ("IMG_1.CR3", b"", FileKind.UNREAD),
        ("IMG_1.cr3", b"anything", FileKind.UNREAD),
        ("IMG_1", boxed(b"crx "), FileKind.UNREAD),
        ("DSC_1.NEF", BIG_TIFF, FileKind.UNREAD),
        ("DSC_1.ARW", TIFF, FileKind.UNREAD),
        ("IMG_1", b"II*\0\x10\0\0\0CR\x02\0", FileKind.UNREAD),
        ("DSCF1.RAF", b"FUJIFILMCCD-RAW 0201", FileKind.UNREAD),
        ("DSCF1", b"FUJIFILMCCD-RAW 0201", FileKind.UNREAD),
        ("P1.ORF", b"IIRO\x08\0\0\0", FileKind.UNREAD),
        ("P1.RW2", b"IIU\0\x08\0\0\0", FileKind.UNREAD),
        ("a.jxl", b"\xff\x0a", FileKind.UNREAD),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", FileKind.UNREAD),
        ("a.psd", b"8BPS\0\x01", FileKind.UNREAD),
        ("a.svg", b"<?xml version=", FileKind.UNREAD),
        ("sky.hdr", b"#?RADIANCE\n", FileKind.UNREAD),
        ("a.TGA", b"", FileKind.UNREAD),
        ("clip.MOV", boxed(b"qt  "), FileKind.VIDEO),
        ("clip.MOV", b"", FileKind.VIDEO),
        ("clip", boxed(b"isom"), FileKind.VIDEO),
        ("clip", b"\0\0\0\x08wide\0\0\0\0mdat", FileKind.VIDEO),
        ("clip", b"RIFF\0\0\0\0AVI LIST", FileKind.VIDEO),
        ("MVI_1.THM", JPEG, FileKind.SIDECAR),
        ("IMG_1.AAE", b"<?xml", FileKind.SIDECAR),
        ("IMG_1.jpg.json", b"{", FileKind.SIDECAR),
        ("IMG_1.CR3.xmp", b"<x:xmpmeta", FileKind.SIDECAR),
        ("notes.txt", b"text", FileKind.OTHER),
        ("empty", b"", FileKind.OTHER),
        ("album.zip", b"PK\x03\x04", FileKind.OTHER),
    ],
)
def test_a_file_is_classified_by_content_and_name(name: str, head: bytes, kind: FileKind) -> None:
    assert kind_of(name, head) is kind


@pytest.mark.parametrize(
    "suffix",
    [
        "cr2",
        "cr3",
        "crw",
        "raf",
        "rw2",
        "orf",
        "nef",
        "nrw",
        "arw",
        "sr2",
        "dng",
        "pef",
        "srw",
        "3fr",
        "iiq",
        "x3f",
        "mrw",
        "erf",
        "mef",
        "mos",
        "dcr",
        "kdc",
        "gpr",
        "raw",
        "rwl",
    ],
)
def test_the_raw_files_of_all_makers_are_recognised(suffix: str) -> None:
    for head in (b"", TIFF, BIG_TIFF, b"no header that anybody knows"):
        assert kind_of(f"IMG_1.{suffix.upper()}", head) is FileKind.UNREAD
    assert "camera's raw file (" in str(why_unread(f"IMG_1.{suffix}", TIFF))


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("a.cr3", b"", "This is a camera's raw file (Canon CR3); export it as JPEG, PNG or TIFF first."),
        (
            "a.jpg",
            boxed(b"crx "),
            "This is a camera's raw file (Canon CR3); export it as JPEG, PNG or TIFF first.",
        ),
        (
            "a.jxl",
            b"",
            "Fathom does not read this kind of picture (JPEG XL); export it as JPEG, PNG or TIFF first.",
        ),
        ("a.jpg", boxed(b"mp42"), "This is a video; Fathom makes depth maps of photos."),
        ("a.mov", b"", "This is a video; Fathom makes depth maps of photos."),
        ("notes.txt", b"text", None),
    ],
)
def test_an_unsupported_file_is_named_by_its_kind(name: str, head: bytes, said: str | None) -> None:
    assert why_unread(name, head) == said


@pytest.mark.parametrize(
    ("name", "needs"),
    [("a.jpg", False), ("a.mov", False), ("a.xmp", False), ("a.cr3", False), ("a.psd", True), ("a", True)],
)
def test_a_file_with_a_clear_name_is_not_read(name: str, needs: bool) -> None:
    assert needs_head(name) is needs
