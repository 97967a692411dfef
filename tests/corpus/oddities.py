"""Rare kinds of pictures, and wrong metadata; most of these files are valid."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.corpus.entry import FINE, CorpusFile, upload
from tests.unit.worker.pipeline.pictures import png, png_chunk, save, scene, texture

CORRUPT, TOO_SMALL, UNSUPPORTED = "image_corrupt", "image_too_small", "unsupported_format"


def odd() -> Iterator[CorpusFile]:
    """Rare kinds, and nonsense beside the pixels, which does not harm a picture."""
    for orientation in (0, 9, 255, 65535):
        yield upload(f"orientation {orientation}.jpg", _exif(_orientation(orientation)), FINE)
    yield upload("exif of nonsense.jpg", _exif(b"Exif\0\0" + bytes(range(256)) * 20), FINE)
    yield upload("exif that begins nowhere.jpg", _exif(b"Exif\0\0II*\0\xff\xff\xff\xff"), FINE)
    yield upload("exif that loops.jpg", _exif(_looping_exif()), FINE)
    yield upload("exif of 4 MB.jpg", _large_exif(64), FINE)
    yield upload("cmyk.jpg", save(_cmyk(), "JPEG"), FINE)
    yield upload("cmyk without adobe.jpg", _without_adobe(save(_cmyk(), "JPEG")), FINE)
    yield upload("grey.jpg", save(Image.fromarray(scene()).convert("L"), "JPEG"), FINE)
    yield upload("one bit.png", save(Image.fromarray(scene()).convert("1"), "PNG"), FINE)
    yield upload("sixteen bits.png", _deep_png(), FINE)
    yield upload("clear as glass.png", save(np.zeros((64, 64, 4), np.uint8), "PNG"), FINE)
    yield upload("all white.jpg", save(np.full((64, 64, 3), 255, np.uint8), "JPEG"), FINE)
    yield upload("text with a wrong checksum.png", _beside(b"tEXta\0b" + bytes(4)), FINE)
    yield upload("gamma cut short.png", _beside(png_chunk(b"gAMA", b"\0")[4:]), FINE)
    yield upload("profile of nonsense.png", _beside(png_chunk(b"iCCP", b"a\0\0" + b"\xff" * 99)[4:]), FINE)
    for file_format in ("GIF", "PNG", "WEBP"):
        yield upload(f"moving.{file_format.lower()}", _moving(file_format), FINE)
    yield upload("float.tif", save(Image.fromarray(np.full((32, 32), np.nan, np.float32)), "TIFF"), FINE)
    yield upload(
        "two pages.tif", save(scene(), "TIFF", save_all=True, append_images=[Image.new("L", (1, 1))]), FINE
    )
    yield upload("one pixel.png", save(Image.new("RGB", (1, 1)), "PNG"), TOO_SMALL)
    yield upload("a line.jpg", save(Image.new("RGB", (60_000, 1)), "JPEG"), TOO_SMALL)
    yield upload("progressive.jpg", save(texture(), "JPEG", progressive=True), FINE)
    yield upload("no end.jpg", save(texture(), "JPEG")[:-2], FINE)
    yield upload("no end, then zeros.jpg", save(texture(), "JPEG", progressive=True)[:-2] + bytes(9000), FINE)
    yield upload("a scan of zeros.jpg", _with_scan_of_zeros(), FINE)
    yield upload("a profile in wrong pieces.jpg", _with_wrong_profile(), FINE)
    yield upload("lossless jpeg.jpg", _of_kind(0xC3), CORRUPT)
    yield upload("twelve bits.jpg", _of_precision(12), UNSUPPORTED)


def _exif(exif: bytes) -> bytes:
    return save(scene(), "JPEG", exif=exif)


def _orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def _looping_exif() -> bytes:
    """Return a directory that is its own sub-directory and successor."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


def _large_exif(segments: int) -> bytes:
    data = save(scene(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + bytes(65527)
    return data[:2] + segment * segments + data[2:]


def _cmyk() -> Image.Image:
    return Image.fromarray(scene()).convert("CMYK")


def _without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def _deep_png() -> bytes:
    row = b"\0" + b"\x12\x34\x56\x78\x9a\xbc" * 32
    return png(32, 20, depth=16, body=zlib.compress(row * 20))


def _beside(chunk: bytes) -> bytes:
    """Return a PNG with an additional chunk; `chunk` is all of it but its length."""
    rows = zlib.compress((b"\0" + b"\x80" * 96) * 32)
    return png(32, 32, struct.pack(">I", len(chunk) - 8) + chunk, body=rows)


def _moving(file_format: str) -> bytes:
    return save(scene(), file_format, save_all=True, append_images=[Image.fromarray(texture())] * 3)


def _with_scan_of_zeros() -> bytes:
    return save(texture(), "JPEG").replace(b"\0\x3f\0", bytes(3), 1)


def _with_wrong_profile() -> bytes:
    data, piece = save(texture(), "JPEG"), b"\xff\xe2\0\x64ICC_PROFILE\0\x07\x03" + bytes(84)
    return data[:2] + piece + piece + data[2:]


def _of_kind(marker: int) -> bytes:
    return save(texture(), "JPEG").replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


def _of_precision(bits: int) -> bytes:
    data = bytearray(save(texture(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = bits
    return bytes(data)
