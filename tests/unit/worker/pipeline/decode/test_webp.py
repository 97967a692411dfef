"""WebP: damaged, truncated, misplaced or undeclared metadata are harmless."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageCorrupt
from tests.unit.worker.pipeline.pictures import LIMITS, lay, save, texture
from worker.pipeline.decode.decode import decode
from worker.pipeline.photo import Photo

HEIGHT, WIDTH = 48, 64
ICC, ALPHA, EXIF, XMP, MOVING = 0x20, 0x10, 0x08, 0x04, 0x02
JUNK = b"\xff" * 101


def chunk(kind: bytes, body: bytes, *, length: int | None = None, filled: bool = True) -> bytes:
    """Return a chunk, possibly with a wrong length or without its padding byte."""
    said = len(body) if length is None else length
    return kind + struct.pack("<I", said) + body + bytes(len(body) % 2 if filled else 0)


def join(*chunks: bytes, more: int = 0) -> bytes:
    """Return a file that claims to be longer by `more` bytes."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + more) + body


def split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def picture(kind: str) -> bytes:
    if kind == "moving":
        frames = [Image.fromarray(texture(HEIGHT, WIDTH, seed)) for seed in (7, 8)]
        return save(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    rgba = np.dstack([texture(HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgba[:9, :9, 3] = 40
    return save(rgba if "alpha" in kind else rgba[..., :3].copy(), "WEBP", lossless="lossless" in kind)


def parts(kind: str) -> tuple[Callable[[int], bytes], list[bytes]]:
    """Return an extended header with additional flags, and the chunks of the picture."""
    chunks = list(split(picture(kind)))
    flags = {"moving": MOVING, "alpha": ALPHA, "lossless and alpha": ALPHA}.get(kind, 0)
    size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    return (
        lambda more: chunk(b"VP8X", bytes([flags | more, 0, 0, 0]) + size),
        [chunk(*one) for one in chunks if one[0] != b"VP8X"],
    )


KINDS = ("lossless", "lossy", "alpha", "lossless and alpha", "moving")

Maker = Callable[[Callable[[int], bytes], list[bytes]], bytes]

FILES: dict[str, Maker] = {
    "EXIF of nonsense": lambda head, rest: join(head(EXIF), *rest, chunk(b"EXIF", JUNK)),
    "EXIF of nothing": lambda head, rest: join(head(EXIF), *rest, chunk(b"EXIF", b"")),
    "EXIF of megabytes": lambda head, rest: join(
        head(EXIF), *rest, chunk(b"EXIF", b"Exif\0\0" + JUNK * 30_000)
    ),
    "EXIF ahead": lambda head, rest: join(head(EXIF), chunk(b"EXIF", JUNK), *rest),
    "EXIF not filled up": lambda head, rest: join(head(EXIF), *rest, chunk(b"EXIF", JUNK, filled=False)),
    "EXIF not filled up but counted so": lambda head, rest: join(
        head(EXIF), *rest, chunk(b"EXIF", JUNK, filled=False), more=1
    ),
    "EXIF longer than the file": lambda head, rest: join(
        head(EXIF), *rest, chunk(b"EXIF", JUNK, length=5000)
    ),
    "EXIF of 4 GB": lambda head, rest: join(head(EXIF), *rest, chunk(b"EXIF", JUNK, length=2**32 - 1)),
    "XMP shorter than it is": lambda head, rest: join(head(XMP), *rest, chunk(b"XMP ", JUNK, length=50)),
    "XMP twice": lambda head, rest: join(head(XMP), *rest, chunk(b"XMP ", JUNK), chunk(b"XMP ", JUNK)),
    "flags without chunks": lambda head, rest: join(head(ICC | EXIF | XMP), *rest),
    "chunks without flags": lambda head, rest: join(
        head(0), chunk(b"ICCP", JUNK), *rest, chunk(b"EXIF", JUNK), chunk(b"XMP ", JUNK)
    ),
    "flags nobody knows": lambda head, rest: join(head(0xC1), *rest),
    "profile of nonsense": lambda head, rest: join(head(ICC), chunk(b"ICCP", JUNK), *rest),
    "profile of nothing": lambda head, rest: join(head(ICC), chunk(b"ICCP", b""), *rest),
    "profile not filled up": lambda head, rest: join(head(ICC), chunk(b"ICCP", JUNK, filled=False), *rest),
    "profile behind": lambda head, rest: join(head(ICC), *rest, chunk(b"ICCP", JUNK)),
    "chunks nobody knows": lambda head, rest: join(
        head(0), chunk(b"abcd", JUNK), *[one for part in rest for one in (part, chunk(b"wxyz", JUNK))]
    ),
    "a few bytes too many": lambda head, rest: join(head(0), *rest, b"EXI"),
    "metadata behind the end": lambda head, rest: join(head(EXIF), *rest) + chunk(b"EXIF", JUNK),
}


def decoded(data: bytes) -> Photo:
    return decode(data, LIMITS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_damage_beside_the_picture_is_harmless(
    name: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = decoded(FILES[name](*parts(kind)))

    assert photo.orientation == 1
    assert (photo.rgb == decoded(picture(kind)).rgb).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["lossless", "lossy"])
def test_metadata_that_the_header_does_not_announce_is_harmless(kind: str) -> None:
    _, rest = parts(kind)
    photo = decoded(join(chunk(b"ICCP", JUNK), *rest, chunk(b"EXIF", JUNK)))

    assert (photo.rgb == decoded(picture(kind)).rgb).all()


@pytest.mark.parametrize("at", ["ahead", "behind"])
def test_an_orientation_is_applied_wherever_it_stands(at: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = texture(HEIGHT, WIDTH)
    turned = [chunk(*one) for one in split(save(lay(upright, 6), "WEBP", lossless=True))]
    note = chunk(b"EXIF", exif.tobytes())
    photo = decoded(join(note, *turned) if at == "ahead" else join(*turned, note))

    assert photo.orientation == 6
    assert (photo.rgb == upright).all()


def test_a_large_picture_is_read_as_robustly() -> None:
    whole = save(texture(2048, 2050), "WEBP", lossless=False, method=0)
    size = (2049).to_bytes(3, "little") + (2047).to_bytes(3, "little")
    head = chunk(b"VP8X", bytes([EXIF | ICC, 0, 0, 0]) + size)
    spoiled = join(
        head, chunk(b"ICCP", JUNK), *[chunk(*one) for one in split(whole)], chunk(b"EXIF", JUNK, length=9999)
    )
    first, second = (
        decode(data, LIMITS, least_size=lambda h, w: (h // 4, w // 4)) for data in (whole, spoiled)
    )

    assert first.rgb.shape == (512, 513, 3)
    assert (first.rgb == second.rgb).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_damaged_whatever_length_the_file_claims(kind: str, share: float) -> None:
    data = picture(kind)
    cut = data[: int(share * len(data))]

    for spoiled in (cut, b"RIFF" + struct.pack("<I", len(cut) - 8) + cut[8:]):
        with pytest.raises(ImageCorrupt):
            decoded(spoiled)


def test_a_file_shorter_than_its_claimed_length_is_damaged() -> None:
    head, rest = parts("lossy")

    with pytest.raises(ImageCorrupt):
        decoded(join(head(EXIF), *rest, chunk(b"EXIF", JUNK))[:-30])
