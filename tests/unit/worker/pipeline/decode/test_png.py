"""PNG chunk by chunk: ancillary chunks are harmless, and critical chunks must be valid."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageCorrupt, ImageError, UnsupportedFormat
from tests.unit.worker.pipeline.pictures import LIMITS, lay
from tests.unit.worker.pipeline.png_writer import (
    GREY,
    KINDS,
    PALETTE,
    RGB,
    Chunk,
    chunk,
    join,
    rows,
    samples,
    split,
    write,
)
from worker.pipeline.decode.decode import decode
from worker.pipeline.photo import Photo

#: A picture of each kind, and all kinds of ancillary chunks: those of the specification and its extensions,
#: of animations, and private ones.
HEIGHT, WIDTH = 40, 56
ANCILLARY = (
    b"acTL bKGD cHRM cICP cLLI caBX eXIf fcTL fdAT fRAc gAMA gIFg gIFt gIFx hIST iCCP iDOT iTXt mDCV oFFs pCAL "
    b"pHYs prVt sBIT sCAL sPLT sRGB sTER tEXt tIME tRNS vpAg zTXt zzZz"
).split()

BODIES = {
    "empty": b"",
    "short": b"\x01",
    "odd": bytes(range(33)),
    "all ones": b"\xff" * 101,
    "text": b"XML:com.adobe.xmp\0\0\0\0" + zlib.compress(b"tiff:Orientation=?"),
    "false deflate": b"Raw profile type exif\0\0" + b"\x78\x9c" + b"\xff" * 40,
}

#: Ways to insert a chunk into a valid file.
WAYS: dict[str, Callable[[list[Chunk], bytes, bytes], list[Chunk]]] = {
    "ahead": lambda sound, kind, body: [sound[0], chunk(kind, body), *sound[1:]],
    "twice": lambda sound, kind, body: [sound[0], chunk(kind, body), chunk(kind, body * 2), *sound[1:]],
    "with a wrong checksum": lambda sound, kind, body: [sound[0], chunk(kind, body, off=1), *sound[1:]],
    "among the rows": lambda sound, kind, body: [*sound[:-2], chunk(kind, body), *sound[-2:]],
    "at the end": lambda sound, kind, body: [*sound[:-1], chunk(kind, body), sound[-1]],
}


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No library prints anything, whatever the file."""
    yield
    assert capfd.readouterr() == ("", "")


def decoded(data: bytes, by: int = 1) -> Photo:
    return decode(data, LIMITS, least_size=lambda h, w: (h // by, w // by))


def plain(colour: int = RGB, depth: int = 8, *, interlaced: bool = False) -> bytes:
    return write(samples(HEIGHT, WIDTH, colour, depth), colour, depth, interlaced=interlaced)


# --- beside the picture -----------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ANCILLARY, ids=bytes.decode)
def test_an_additional_chunk_is_harmless(kind: bytes, body: str) -> None:
    sound = plain(PALETTE if kind in (b"bKGD", b"hIST", b"sPLT") else RGB)
    photo = decoded(join(WAYS["ahead"](list(split(sound)), kind, BODIES[body])))

    assert photo.orientation == 1
    assert (photo.rgb == decoded(sound).rgb).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", [b"tRNS", b"eXIf", b"tEXt", b"iTXt", b"gAMA", b"zzZz"], ids=bytes.decode)
def test_an_additional_chunk_is_harmless_at_any_position(kind: bytes, body: str, way: str) -> None:
    photo = decoded(join(WAYS[way](list(split(plain())), kind, BODIES[body])))

    assert photo.orientation == 1
    assert (photo.rgb == decoded(plain()).rgb).all()


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_all_additional_chunks_together_are_harmless(
    colour: int, depth: int, interlaced: bool, by: int
) -> None:
    sound = plain(colour, depth, interlaced=interlaced)
    head, *rest, end = split(sound)
    # 500 bytes are too many for a transparency chunk.
    crowd = [
        chunk(kind, (body * 500)[:500], off=off)
        for kind in ANCILLARY
        for body in BODIES.values()
        for off in (0, 7)
    ]
    spoiled = join([head, *crowd, *[part for one in rest for part in (*crowd[::29], one)], *crowd, end])

    assert (decoded(spoiled, by).rgb == decoded(sound, by).rgb).all()


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (b"zTXt", b"Comment\0\0"),
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"profile\0\0"),
    ],
)
@pytest.mark.parametrize("size", [3_000_000, 40_000_000])
def test_metadata_that_inflate_to_megabytes_are_harmless(kind: bytes, before: bytes, size: int) -> None:
    sound = plain()
    head, *rest = split(sound)
    large = chunk(kind, before + zlib.compress(b"text" * (size // 4), 9))

    assert (decoded(join([head, large, *rest])).rgb == decoded(sound).rgb).all()


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"eXIf", b"iCCP", b"caBX", b"zzZz"], ids=bytes.decode)
@pytest.mark.parametrize("at", [1, -1], ids=["ahead", "at the end"])
def test_megabytes_of_metadata_are_harmless(kind: bytes, at: int) -> None:
    sound = list(split(plain()))
    large = chunk(kind, b"XML:com.adobe.xmp\0\0\0\0\0" + b"text" * 1_000_000)

    assert (decoded(join([*sound[:at], large, *sound[at:]])).rgb == decoded(join(sound)).rgb).all()


def test_the_default_image_of_an_animated_png_is_used() -> None:
    still, other = plain(), samples(HEIGHT, WIDTH, RGB, 8, seed=9)
    control = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    frame = struct.pack(">I", 1) + zlib.compress(rows(other, 8))
    head, *data, end = split(still)
    moving = [
        head,
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"fcTL", control),
        *data,
        chunk(b"fcTL", control),
        chunk(b"fdAT", frame),
        end,
    ]

    assert (decoded(join(moving)).rgb == decoded(still).rgb).all()


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 5000, b"\x89PNG\r\n\x1a\n", b"PK\x03\x04" + bytes(range(256)) * 9]
)
def test_bytes_after_the_end_are_ignored(tail: bytes) -> None:
    assert (decoded(plain() + tail).rgb == decoded(plain()).rgb).all()


# --- transparency -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "is_white"),
    [("ahead", True), ("with a wrong checksum", False), ("among the rows", False), ("at the end", False)],
)
@pytest.mark.parametrize("colour", [GREY, RGB])
def test_transparency_counts_if_it_is_valid_and_in_its_place(colour: int, where: str, is_white: bool) -> None:
    values = np.full((HEIGHT, WIDTH, 3 if colour == RGB else 1), 7)
    sound = list(split(write(np.concatenate([values, samples(HEIGHT, WIDTH, colour, 8)]), colour, 8)))
    rgb = decoded(join(WAYS[where](sound, b"tRNS", b"\0\x07" * values.shape[2]))).rgb

    assert (rgb[0, 0] == (255 if is_white else 7)).all()


def test_of_two_transparency_chunks_the_first_valid_one_counts() -> None:
    values = np.stack([np.full((HEIGHT, WIDTH), 7), np.full((HEIGHT, WIDTH), 8)]).reshape(-1, WIDTH, 1)
    given = [chunk(b"tRNS", body) for body in (b"", b"\0", b"\0\x07", b"\0\x08")]
    rgb = decoded(write(values, GREY, 8, before=given)).rgb

    assert (rgb[0, 0] == 255).all()
    assert (rgb[-1, 0] == 8).all()


# --- orientation --------------------------------------------------------------------


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _raw_profile(orientation: int) -> bytes:
    """The format of ImageMagick: name, length, and hexadecimal digits."""
    return f"\nexif\n{len(_exif(orientation)):8}\n{_exif(orientation).hex()}\n".encode()


TURNED: dict[str, Callable[[int], Chunk]] = {
    "eXIf": lambda o: chunk(b"eXIf", _exif(o)[6:]),
    "eXIf with a JPEG's prefix": lambda o: chunk(b"eXIf", _exif(o)),
    "profile": lambda o: chunk(b"tEXt", b"Raw profile type exif\0" + _raw_profile(o)),
    "compressed profile": lambda o: chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_raw_profile(o))
    ),
}


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("at", [1, -1], ids=["ahead", "at the end"])
@pytest.mark.parametrize("holder", TURNED)
def test_an_orientation_is_applied_wherever_it_stands(holder: str, at: int, by: int) -> None:
    upright = np.kron(samples(5, 7, RGB, 8), np.ones((8, 8, 1), int)).astype(np.uint8)
    sound = list(split(write(lay(upright, 6), RGB, 8)))
    photo = decoded(join([*sound[:at], TURNED[holder](6), *sound[at:]]), by)

    assert (photo.height, photo.width, photo.orientation) == (*upright.shape[:2], 6)
    assert (photo.rgb == upright[::by, ::by]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(orientation: int) -> None:
    upright = samples(HEIGHT, WIDTH, RGB, 8).astype(np.uint8)
    photo = decoded(write(lay(upright, orientation), RGB, 8, before=[TURNED["eXIf"](orientation)]))

    assert photo.orientation == orientation
    assert (photo.rgb == upright).all()


@pytest.mark.parametrize("holder", TURNED)
def test_an_orientation_with_a_wrong_checksum_is_ignored(holder: str) -> None:
    kind, body, _ = TURNED[holder](6)
    head, *rest = split(plain())

    assert decoded(join([head, chunk(kind, body, off=1), *rest])).orientation == 1


# --- what makes the picture ---------------------------------------------------------


def _damaged(sound: list[Chunk], number: int) -> bytes:
    kind, body, _ = sound[number]
    return join([*sound[:number], chunk(kind, body, off=1), *sound[number:][1:]])


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), [(RGB, 8), (PALETTE, 4), (GREY, 16)])
@pytest.mark.parametrize("number", [0, 1, 2, -2, -1], ids=["header", "first", "second", "last", "end"])
def test_a_wrong_checksum_of_a_critical_chunk_is_damage(
    number: int, colour: int, depth: int, interlaced: bool, by: int
) -> None:
    values = samples(200, 120, colour, depth)
    sound = list(split(write(values, colour, depth, interlaced=interlaced)))

    with pytest.raises(ImageCorrupt):
        decoded(_damaged(sound, range(len(sound))[number]), by)


def _with_data(body: bytes, *, interlaced: bool = False, colour: int = RGB) -> bytes:
    head, *rest, end = split(plain(colour, interlaced=interlaced))
    return join([head, *[one for one in rest if one[0] == b"PLTE"], chunk(b"IDAT", body), end])


def _rows(*, interlaced: bool = False) -> bytes:
    return rows(samples(HEIGHT, WIDTH, RGB, 8), 8, interlaced=interlaced)


LINE = 1 + 3 * WIDTH


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("missing", [1, 4, LINE // 2, LINE, 10 * LINE])
@pytest.mark.parametrize("level", [0, 9])
def test_missing_rows_are_damage(missing: int, interlaced: bool, by: int, level: int) -> None:
    body = zlib.compress(_rows(interlaced=interlaced)[:-missing], level)

    with pytest.raises(ImageCorrupt):
        decoded(_with_data(body, interlaced=interlaced), by)


@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_stream_that_stops_early_is_damage(share: float, interlaced: bool, by: int) -> None:
    body = zlib.compress(_rows(interlaced=interlaced))

    with pytest.raises(ImageCorrupt):
        decoded(_with_data(body[: int(share * len(body))], interlaced=interlaced), by)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_stream_without_its_checksum_is_damage(cut: int) -> None:
    with pytest.raises(ImageCorrupt):
        decoded(_with_data(zlib.compress(_rows())[:-cut]))


def test_a_stream_with_a_wrong_checksum_is_damage() -> None:
    body = bytearray(zlib.compress(_rows()))
    body[-1] ^= 1

    with pytest.raises(ImageCorrupt):
        decoded(_with_data(bytes(body)))


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("row", [0, 1, HEIGHT - 1])
@pytest.mark.parametrize("filtering", [5, 9, 255])
def test_a_filter_that_does_not_exist_is_damage(filtering: int, row: int, interlaced: bool) -> None:
    body = bytearray(_rows(interlaced=interlaced))
    body[row * LINE if not interlaced else 0] = filtering

    with pytest.raises(ImageCorrupt):
        decoded(_with_data(zlib.compress(body), interlaced=interlaced))


@pytest.mark.parametrize("excess", [1, 100, 3_000_000])
def test_more_data_than_rows_is_harmless(excess: int) -> None:
    photo = decoded(_with_data(zlib.compress(_rows() + bytes(excess))))

    assert (photo.rgb == decoded(plain()).rgb).all()


def _lacking(sound: list[Chunk], kind: bytes) -> bytes:
    return join(one for one in sound if one[0] != kind)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND"], ids=bytes.decode)
def test_a_picture_without_a_part_that_it_needs_is_damaged(kind: bytes) -> None:
    with pytest.raises(ImageCorrupt):
        decoded(_lacking(list(split(plain(PALETTE))), kind))


@pytest.mark.parametrize("length", [0, 1, 4, 769, 771])
def test_a_palette_of_an_impossible_length_is_damage(length: int) -> None:
    sound = split(plain(PALETTE))
    with pytest.raises(ImageCorrupt):
        decoded(join(chunk(kind, bytes(length) if kind == b"PLTE" else body) for kind, body, _ in sound))


@pytest.mark.parametrize("length", [0, 1, 4, 768, 771])
@pytest.mark.parametrize("colour", [GREY, RGB])
def test_a_palette_that_is_not_needed_is_not_looked_at(colour: int, length: int) -> None:
    head, *rest = split(plain(colour))

    assert (
        decoded(join([head, chunk(b"PLTE", bytes(length)), *rest])).rgb == decoded(plain(colour)).rgb
    ).all()


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 3), (8, 0), (8, 32), (9, 1), (9, 5), (9, 7), (10, 1), (11, 1), (12, 2), (12, 255)],
    ids=lambda v: str(v),
)
def test_an_impossible_header_is_damage(offset: int, value: int) -> None:
    (kind, body, _), *rest = split(plain())
    with pytest.raises(ImageCorrupt):
        decoded(join([chunk(kind, body[:offset] + bytes([value]) + body[offset + 1 :]), *rest]))


@pytest.mark.parametrize("body", [b"", bytes(12), bytes(14)])
def test_a_header_of_a_wrong_length_is_damage(body: bytes) -> None:
    _, *rest = split(plain())
    with pytest.raises(ImageCorrupt):
        decoded(join([chunk(b"IHDR", body), *rest]))


@pytest.mark.parametrize("length", [5, 3000, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("at", [1, -1], ids=["ahead", "at the end"])
def test_a_wrong_chunk_length_is_damage(at: int, length: int) -> None:
    sound = list(split(plain()))
    whole = join([*sound[:at], chunk(b"tEXt", b"Comment\0text"), *sound[at:]])
    where = whole.index(b"tEXt") - 4
    spoiled = whole[:where] + struct.pack(">I", length) + whole[where + 4 :]

    with pytest.raises(ImageCorrupt):
        decoded(spoiled)


def test_a_picture_with_an_unknown_critical_chunk_is_unsupported() -> None:
    head, *rest = split(plain())

    # As in the PNGs inside iPhone apps, whose rows do not follow the specification.
    with pytest.raises(UnsupportedFormat):
        decoded(join([chunk(b"CgBI", b"\x50\0\x20\x02"), head, *rest]))


@pytest.mark.parametrize(("colour", "depth"), [(RGB, 8), (PALETTE, 8), (GREY, 16)])
@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
def test_damage_anywhere_is_refused_or_leaves_the_picture_as_it_was(
    colour: int, depth: int, interlaced: bool
) -> None:
    sound = plain(colour, depth, interlaced=interlaced)
    whole = decoded(sound).rgb
    rng = np.random.default_rng(5)
    for at in rng.integers(8, len(sound), 150):
        spoiled = bytearray(sound)
        spoiled[at] ^= 1 << rng.integers(8)
        assert same_or_refused(bytes(spoiled), whole)


def same_or_refused(data: bytes, whole: NDArray[Any]) -> bool:
    try:
        return bool((decoded(data).rgb == whole).all())
    except ImageError:
        return True
