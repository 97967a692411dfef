"""Files that need far more memory or time than their size suggests."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.corpus.entry import FINE, CorpusFile, upload
from tests.unit.worker.pipeline.pictures import png, png_chunk, save, scene, texture

TOO_LARGE, CORRUPT, UNSUPPORTED = "image_too_large", "image_corrupt", "unsupported_format"
_HUGE = 2**31 - 1


def oversized() -> Iterator[CorpusFile]:
    """Absurd dimensions in the header of every format."""
    yield upload("png 2^31.png", png(_HUGE, _HUGE), TOO_LARGE)
    yield upload("png 2^32.png", png(2**32 - 1, 2**32 - 1), TOO_LARGE)
    yield upload("png line.png", png(100_000_000, 16), TOO_LARGE)
    yield upload(
        "jpeg 65500.jpg", _patched(save(scene(), "JPEG"), b"\xff\xc0", 5, ">HH", 65500, 65500), TOO_LARGE
    )
    yield upload("gif 65535.gif", _gif(65535, 65535), TOO_LARGE)
    yield upload("gif frame.gif", _gif(64, 64, frame=(65535, 65535)), TOO_LARGE)
    yield upload("bmp 60000.bmp", _bmp(60_000, 60_000), TOO_LARGE)
    yield upload("bmp 2^31.bmp", _bmp(_HUGE, _HUGE), TOO_LARGE)
    yield upload("webp 2^14.webp", _webp_extended(16384, 16384), TOO_LARGE)
    yield upload("webp lossless.webp", _webp_lossless(16384, 16384), TOO_LARGE)
    yield upload(
        "webp lossy.webp",
        _patched(save(scene(), "WEBP", lossless=False), b"\x9d\x01\x2a", 3, "<HH", 16383, 16383),
        TOO_LARGE,
    )
    yield upload("tiff 2^31.tif", _tiff_of({256: _HUGE, 257: _HUGE}), TOO_LARGE)
    yield upload(
        "tiff tile.tif", _tiff_of({256: 64, 257: 64, 322: 2**30, 323: 2**30, 324: 8, 325: 64}), CORRUPT
    )
    yield upload(
        "heif 2^31.heic", _patched(save(scene(), "HEIF"), b"ispe", 8, ">II", _HUGE, _HUGE), TOO_LARGE
    )
    yield upload("avif 2^31.avif", _patched(save(scene(), "AVIF"), b"ispe", 8, ">II", _HUGE, _HUGE), CORRUPT)
    yield upload("avif 65535.avif", _patched(save(scene(), "AVIF"), b"ispe", 8, ">II", 65535, 65535), CORRUPT)


def bombs() -> Iterator[CorpusFile]:
    """Small files that expand, repeat or nest."""
    zeros = zlib.compress(bytes(64 * 2**20), 9)
    yield upload("png more data than pixels.png", png(64, 64, body=zeros), FINE)
    yield upload("png all black 4 MP.png", png(2000, 2000, body=zlib.compress(bytes(2000 * 6001), 9)), FINE)
    for kind, between in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        text = png_chunk(kind, between + zeros)
        yield upload(f"png {kind.decode()} bomb.png", png(64, 64, text, body=_rows(64, 64)), FINE)
    yield upload("png many texts.png", png(64, 64, *_texts(3000), body=_rows(64, 64)), FINE)
    yield upload(
        "png 10000 chunks.png", png(64, 64, *[png_chunk(b"abCd", b"")] * 10_000, body=_rows(64, 64)), FINE
    )
    yield upload("jpeg 1000 scans.jpg", _many_scans(1000), CORRUPT)
    yield upload("jpeg 60 comments.jpg", _with_segments(b"\xff\xfe", 60), FINE)
    yield upload("gif bomb of lzw.gif", _gif(4000, 4000), CORRUPT)
    yield upload("gif 5000 frames.gif", _gif_of_frames(5000), FINE)
    yield upload("webp 300 frames.webp", _animation("WEBP", 300), FINE)
    yield upload("tiff more data than pixels.tif", _tiff_bomb(zeros), FINE)
    for compression, packed in (
        (5, _lzw_of_zeros()),
        (32773, b"\x81\0" * 2**15),
        (34925, lzma.compress(bytes(2**24))),
    ):
        bomb = _tiff_of({256: 64, 257: 64, 278: 64, 259: compression}, body=packed)
        yield upload(f"tiff more data than pixels {compression}.tif", bomb, FINE)
    yield upload("zip bomb.jpg", _zip_bomb(), UNSUPPORTED)
    yield upload("gzip bomb.jpg", zlib.compress(bytes(2**24), 9), UNSUPPORTED)
    yield upload("svg bomb.jpg", _laughs(), UNSUPPORTED)


def hostile_tiffs() -> Iterator[CorpusFile]:
    """TIFFs whose directories claim, repeat or reference more than there is."""
    wide = {256: 4000, 257: 4000, 278: 4000}
    zeros = zlib.compress(bytes(2**20), 9)
    yield upload("tiff one strip of 4 GB.tif", _tiff_of(wide | {258: 64, 277: 32, 259: 8}, zeros), TOO_LARGE)
    huge = {256: 64, 257: 64, 322: 2**15, 323: 2**15, 324: 8, 325: len(zeros), 259: 8}
    yield upload("tiff packed tile of 1 GB.tif", _tiff_of(huge, zeros), TOO_LARGE)
    # 4 megapixels of 64 bits, all in one strip.
    long = {256: 2000, 257: 2000, 278: 2000, 258: 64}
    lzma_zeros = lzma.compress(bytes(2**25), preset=0)
    yield upload("tiff strip of 32 MB.tif", _tiff_of(long | {259: 8}, zlib.compress(bytes(2**25), 1)), FINE)
    yield upload("tiff strip of 32 MB by lzma.tif", _tiff_of(long | {259: 34925}, lzma_zeros), FINE)
    yield upload("tiff 65535 samples.tif", _tiff_of({256: 64, 257: 64, 277: 65535}), UNSUPPORTED)
    yield upload("tiff 2^32 bits.tif", _tiff_of({256: 64, 257: 64, 258: 2**32 - 1}), UNSUPPORTED)
    yield upload("tiff half a million strips.tif", _tiff_of({256: 16, 257: 2**19, 278: 1}), UNSUPPORTED)
    for name, fields in _POINTERS.items():
        yield upload(
            f"tiff with {name}.tif", _tiff_of({256: 64, 257: 64, 278: 64} | fields, bytes(4096)), CORRUPT
        )
    yield upload("tiff of fields without end.tif", _tiff_of_claims(4000, kind=4), FINE)
    yield upload("tiff of texts without end.tif", _tiff_of_claims(4000, kind=2), FINE)
    yield upload("tiff of sub-directories that loop.tif", _looping(330), UNSUPPORTED)
    yield upload("tiff of previews without end.tif", _looping(254), UNSUPPORTED)
    yield upload("tiff of overlapping strips.tif", _tiff_of_shared_strips(), CORRUPT)
    yield upload("tiff of a jpeg 65500.tif", _tiff_of_jpeg(65500), CORRUPT)
    yield upload(
        "tiff of jpeg tables without end.tif", _tiff_of_claims(1, kind=7, first=347, compression=7), CORRUPT
    )
    yield upload("tiff of lzma with a dictionary of 4 GB.tif", _tiff_of_lzma(), CORRUPT)
    yield upload("bigtiff of 2^63 fields.tif", _bigtiff(2**63), CORRUPT)
    yield upload("bigtiff of no fields.tif", _bigtiff(0), CORRUPT)
    yield upload("bigtiff whose strip ends at 2^63.tif", _bigtiff_of_a_strip(2**63 - 64), CORRUPT)


#: Fields of a TIFF that point beyond its end, or to no value.
_POINTERS = {
    "a strip beyond the end": {273: 2**31},
    "a strip at 2^32": {273: 2**32 - 1},
    "a strip nowhere": {273: 0},
    "a strip of no size": {279: 0, 259: 5},
    "a strip of 4 GB": {279: 2**32 - 1, 259: 5},
    "a strip too short": {279: 100},
    "a tile of no width": {322: 0, 323: 16},
    "strips of no rows": {278: 0},
    "no palette": {262: 3},
    "two colours": {262: 2, 277: 2},
}


def _patched(data: bytes, mark: bytes, offset: int, form: str, *values: int) -> bytes:
    """Overwrite numbers after the first `mark`."""
    patched = bytearray(data)
    struct.pack_into(form, patched, data.index(mark) + offset, *values)
    return bytes(patched)


def _rows(height: int, width: int) -> bytes:
    return zlib.compress((b"\0" + b"\x80" * 3 * width) * height)


def _texts(count: int) -> list[bytes]:
    return [png_chunk(b"tEXt", b"key%d\0value" % n) for n in range(count)]


def _gif(width: int, height: int, *, frame: tuple[int, int] | None = None) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    inner = struct.pack("<HH", *(frame or (width, height)))
    return screen + b",\0\0\0\0" + inner + b"\0\x02\x02\x4c\x01\0;"


def _bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + head


def _webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _webp_extended(width: int, height: int) -> bytes:
    return _webp(
        b"VP8X", b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )


def _webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return _webp(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(16))


def _tiff_of(tags: dict[int, int], body: bytes = bytes(64)) -> bytes:
    """Return a TIFF of one directory after its data; by default its tags describe grey bytes."""
    usual = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: len(body)}
    entries = sorted((usual | tags).items())
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<I", 8 + len(body)) + body
    return head + struct.pack("<H", len(entries)) + directory + bytes(4)


def _tiff_bomb(zeros: bytes) -> bytes:
    return _tiff_of({256: 64, 257: 64, 278: 64, 259: 8}, body=zeros)


def _lzw_of_zeros() -> bytes:
    """Return more than 4096 zeros in LZW: the clear code, then every code just after the table gets it."""
    codes, width = ["100000000", "000000000"], 9
    for code in range(258, 4094):
        width = (code - 1).bit_length()
        codes.append(f"{code:0{max(9, width)}b}")
    bits = "".join(codes)
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")


def _tiff_of_claims(count: int, *, kind: int, first: int = 40_000, compression: int = 1) -> bytes:
    """Return a valid TIFF with additional fields, each of which claims a billion values."""
    data = _tiff_of({256: 64, 257: 64, 278: 64, 259: compression}, bytes(4096))
    at = int.from_bytes(data[4:8], "little")
    (fields,) = struct.unpack_from("<H", data, at)
    claims = b"".join(struct.pack("<HHII", first + tag, kind, 2**30, 8) for tag in range(count))
    entries = data[at + 2 : at + 2 + 12 * fields]
    return data[:at] + struct.pack("<H", fields + count) + entries + claims + bytes(4)


def _looping(tag: int) -> bytes:
    """Return a TIFF of previews that all point back to the first, as sub-directory or as next directory."""
    data = bytearray(_tiff_of({254: 1, 330: 0}))
    first = int.from_bytes(data[4:8], "little")
    data[-4:] = struct.pack("<I", first)
    struct.pack_into("<I", data, data.index(struct.pack("<HHI", 330, 4, 1)) + 8, first if tag == 330 else 0)
    return bytes(data)


def _tiff_of_shared_strips() -> bytes:
    """Return a TIFF of 1000 strips, each of which is the whole file."""
    body = zlib.compress(bytes(range(256)) * 4096)
    places = struct.pack("<1000I", *[8] * 1000) + struct.pack("<1000I", *[len(body)] * 1000)
    data = _tiff_of({256: 64, 257: 1000, 278: 1, 259: 8, 273: 0, 279: 0}, body + places)
    for tag, at in ((273, 8 + len(body)), (279, 8 + len(body) + 4000)):
        data = data.replace(struct.pack("<HHII", tag, 4, 1, 0), struct.pack("<HHII", tag, 4, 1000, at))
    return data


def _tiff_of_jpeg(side: int) -> bytes:
    jpeg = _patched(save(Image.new("L", (64, 64)), "JPEG"), b"\xff\xc0", 5, ">HH", side, side)
    return _tiff_of({256: 64, 257: 64, 278: 64, 259: 7}, jpeg)


def _tiff_of_lzma() -> bytes:
    """Return a TIFF whose strip needs an LZMA dictionary of 4 GB."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    packed = bytearray(lzma.compress(bytes(4096), filters=filters))
    # The header of the block: its size, flags, the id of the filter, the size of its properties, and these.
    packed[16] = 40
    packed[20:24] = struct.pack("<I", zlib.crc32(packed[12:20]))
    return _tiff_of({256: 64, 257: 64, 278: 64, 259: 34925}, bytes(packed))


def _bigtiff(fields: int) -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, fields) + bytes(64)


def _bigtiff_of_a_strip(size: int) -> bytes:
    numbers = {256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 273: 2**62, 277: 1, 278: 64, 279: size}
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in numbers.items())
    return _bigtiff(len(numbers))[:24] + entries + bytes(64)


def _many_scans(count: int) -> bytes:
    data = save(texture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def _with_segments(marker: bytes, count: int) -> bytes:
    data = save(scene(), "JPEG")
    segment = marker + struct.pack(">H", 65535) + bytes(65533)
    return data[:2] + segment * count + data[2:]


def _animation(file_format: str, frames: int) -> bytes:
    pictures = [Image.fromarray(np.full((16, 16), n % 251, np.uint8)) for n in range(frames)]
    return save(pictures[0], file_format, save_all=True, append_images=pictures[1:])


def _gif_of_frames(count: int) -> bytes:
    """Return a GIF of one frame, again and again: Pillow would take most of a second to write it."""
    one = save(Image.fromarray(scene()[:16, :16]), "GIF")
    first = 13 + 3 * 2 ** ((one[10] & 7) + 1)
    return one[:first] + one[first:-1] * count + b";"


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bmp", bytes(2**24))
    return buffer.getvalue()


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "ha">{entities}]><svg>&l9;</svg>'.encode()
