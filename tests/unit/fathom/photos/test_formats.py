from __future__ import annotations

import pytest

from fathom.photos.formats import Format, sniff_format


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", Format.JPEG),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Format.PNG),
        (b"GIF87a", Format.GIF),
        (b"GIF89a", Format.GIF),
        (b"II*\0\x08\0\0\0", Format.TIFF),
        (b"MM\0*\0\0\0\x08", Format.TIFF),
        (b"MM\0+\0\x08\0\0", Format.TIFF),
        (b"RIFF\x10\0\0\0WEBPVP8 ", Format.WEBP),
        (b"BM" + b"\0" * 12 + b"\x28\0\0\0", Format.BMP),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Format.HEIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Format.HEIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Format.AVIF),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Format.AVIF),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", Format.HEIF),
    ],
)
def test_formats_are_recognised_by_their_first_bytes(head: bytes, found: Format) -> None:
    assert sniff_format(head) is found


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG",
        b"GIF88a",
        b"BMW is a make of cars",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypisom\0\0\0\0isomavc1",
        b"\xff\xff\xff\xffftypmp42",
        b"ftypheic",
        b"hello",
    ],
)
def test_other_files_have_no_format(head: bytes) -> None:
    assert sniff_format(head) is None
