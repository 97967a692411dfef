"""Truncated pictures, and pictures with broken parts."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.corpus.entry import FINE, CorpusFile, upload
from tests.unit.worker.pipeline.pictures import png, png_chunk, save, scene, texture

CORRUPT, UNSUPPORTED = "image_corrupt", "unsupported_format"


def truncated() -> Iterator[CorpusFile]:
    """A JPEG cut after every marker, a PNG cut after every chunk, and other formats cut in the middle."""
    jpeg = save(texture(), "JPEG", progressive=True)
    for number, at in enumerate(_markers(jpeg)):
        yield upload(f"jpeg cut at marker {number}.jpg", jpeg[: at + 2], UNSUPPORTED if at == 0 else CORRUPT)
    whole = save(texture(), "PNG")
    for number, at in enumerate(_chunks(whole)):
        yield upload(f"png cut at chunk {number}.png", whole[:at], CORRUPT)
        yield upload(f"png cut in chunk {number}.png", whole[: at + 6], CORRUPT)
    for file_format in ("WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF"):
        data = save(texture(), file_format)
        yield upload(f"half a {file_format.lower()}", data[: len(data) // 2], CORRUPT)
    heif = save(texture(), "HEIF")
    for number, at in enumerate(_boxes(heif)):
        yield upload(f"heif cut at box {number}.heic", heif[:at], CORRUPT)
    yield upload("jpeg cut with a false end.jpg", jpeg[: len(jpeg) // 3] + b"\xff\xd9", CORRUPT)


def damaged() -> Iterator[CorpusFile]:
    """Complete files with one wrong part."""
    jpeg = save(texture(), "JPEG")
    yield upload("jpeg without tables.jpg", _without(jpeg, b"\xff\xdb"), CORRUPT)
    yield upload("jpeg without huffman, as films have it.jpg", _without(jpeg, b"\xff\xc4"), FINE)
    yield upload("jpeg of no height.jpg", _sized(jpeg, 0, 128), CORRUPT)
    yield upload("jpeg of no width.jpg", _sized(jpeg, 96, 0), CORRUPT)
    yield upload("jpeg taller than its pixels.jpg", _sized(jpeg, 9000, 128), CORRUPT)
    yield upload("jpeg of noise.jpg", jpeg[:4] + bytes(range(256)) * 40, CORRUPT)
    yield upload("jpeg with a segment without end.jpg", jpeg[:2] + b"\xff\xe1\xff\xff" + jpeg[2:], CORRUPT)
    yield upload("png with a wrong checksum.png", _with_wrong_checksum(), CORRUPT)
    yield upload("png with a wrong checksum of its end.png", _with_wrong_last_byte(), CORRUPT)
    yield upload("png with rows missing.png", png(32, 33, body=_rows()), CORRUPT)
    yield upload("png with its rows cut off.png", png(32, 32, body=_rows()[:-6]), CORRUPT)
    yield upload("png of no width.png", png(0, 32), CORRUPT)
    yield upload("png of no height.png", png(32, 0), CORRUPT)
    yield upload("png without data.png", png(32, 32), CORRUPT)
    yield upload("png with bad zlib.png", png(32, 32, body=b"\x78\x9c" + b"\xff" * 100), CORRUPT)
    yield upload("png of depth 3.png", png(32, 32, depth=3, body=_rows()), CORRUPT)
    yield upload("png of colour 5.png", png(32, 32, colour=5, body=_rows()), CORRUPT)
    yield upload("png header twice.png", png(32, 32, _header(), body=_rows()), FINE)
    yield upload("png chunk of 4 GB.png", png(32, 32, _chunk_of(2**32 - 1), body=_rows()), CORRUPT)
    yield upload("gif with bad lzw.gif", _with_bad_lzw(), CORRUPT)
    yield upload("tiff that loops.tif", _looping_tiff(), FINE)
    yield upload("tiff that begins nowhere.tif", b"II*\0" + struct.pack("<I", 2**31) + bytes(100), CORRUPT)
    yield upload("tiff whose directory is itself.tif", b"II*\0" + struct.pack("<I", 4) + bytes(100), CORRUPT)
    yield upload("tiff without strips.tif", _tiff_without_strips(), CORRUPT)
    yield upload(
        "tiff of 65535 tags.tif", b"II*\0\x08\0\0\0\xff\xff" + b"\0\1\3\0\1\0\0\0\1\0\0\0" * 65535, CORRUPT
    )
    yield upload("bmp that begins behind itself.bmp", _bmp_pixels_at(2**31 - 1), CORRUPT)
    yield upload(
        "webp with a wrong length.webp",
        save(texture(), "WEBP")[:4] + b"\xff\xff\xff\x7f" + save(texture(), "WEBP")[8:],
        CORRUPT,
    )
    yield upload("heif with a box of no size.heic", _with_first_box_of(0), CORRUPT)
    yield upload("heif with a box without end.heic", _with_first_box_of(2**32 - 1), CORRUPT)


def _markers(data: bytes) -> Iterator[int]:
    """Yield the position of every marker of a JPEG."""
    at = 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] not in (0x00, 0xFF, 0xD9):
            yield at
            standalone = data[at + 1] == 0xD8
            at += 2 if standalone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        else:
            at += 2


def _chunks(data: bytes) -> Iterator[int]:
    """Yield the position of every chunk of a PNG."""
    at = 8
    while at < len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _boxes(data: bytes) -> Iterator[int]:
    """Yield the position of every box of a HEIF, except for the first."""
    at = int.from_bytes(data[:4], "big")
    while at < len(data):
        yield at
        at += int.from_bytes(data[at : at + 4], "big") or len(data)


def _without(data: bytes, marker: bytes) -> bytes:
    while marker in data:
        at = data.index(marker)
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


def _sized(data: bytes, height: int, width: int) -> bytes:
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _rows() -> bytes:
    return zlib.compress((b"\0" + b"\x80" * 96) * 32)


def _header() -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))


def _chunk_of(size: int) -> bytes:
    return struct.pack(">I", size) + b"abCd" + b"x" * 20


def _with_wrong_checksum() -> bytes:
    data = bytearray(save(texture(), "PNG"))
    data[data.index(b"IDAT") + 100] ^= 0xFF
    return bytes(data)


def _with_wrong_last_byte() -> bytes:
    data = save(texture(), "PNG")
    return data[:-1] + bytes([data[-1] ^ 1])


def _with_bad_lzw() -> bytes:
    data = bytearray(save(texture(), "GIF"))
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
    return bytes(data)


def _looping_tiff() -> bytes:
    """Return a TIFF whose last directory points to the first."""
    data = bytearray(save(scene(), "TIFF"))
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    return bytes(data)


def _tiff_without_strips() -> bytes:
    entries = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (277, 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


def _bmp_pixels_at(offset: int) -> bytes:
    data = bytearray(save(Image.fromarray(scene()), "BMP"))
    struct.pack_into("<I", data, 10, offset)
    return bytes(data)


def _with_first_box_of(size: int) -> bytes:
    data = bytearray(save(texture(), "HEIF"))
    second = int.from_bytes(data[:4], "big")
    struct.pack_into(">I", data, second, size)
    return bytes(data[: len(data) // 2] if size == 0 else data)
