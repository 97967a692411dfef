"""TIFF of every kind, from a writer that shares no code with the reader, is right or refused."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageCorrupt, ImageError, UnsupportedFormat
from tests.unit.worker.pipeline.pictures import LIMITS, lay, save, texture
from worker.pipeline.decode.decode import decode

HEIGHT, WIDTH = 37, 53
#: As the page reads it, gray is one number for each pixel.
COLOR = texture(HEIGHT, WIDTH)
GRAY = COLOR[..., 1]

#: How an 8-bit sample is scaled to another type.
WRITTEN = {
    "uint8": lambda v: v,
    "uint16": lambda v: v.astype(np.uint16) * 257,
    "uint32": lambda v: v.astype(np.uint32) * 0x1010101,
    "uint64": lambda v: v.astype(np.uint64) * 0x101010101010101,
    "int8": lambda v: (v.astype(np.int16) - 128).astype(np.int8),
    "int16": lambda v: (v.astype(np.int32) * 257 - 32768).astype(np.int16),
    "int32": lambda v: (v.astype(np.int64) * 0x1010101 - 2**31).astype(np.int32),
    "float16": lambda v: (v / 255).astype(np.float16),
    "float32": lambda v: (v / 255).astype(np.float32),
    "float64": lambda v: v / 255,
}

#: Compression and predictor as the writer names them; the predictor for floats has number 3.
PACKED = {
    "none": (None, False),
    "lzw": ("lzw", False),
    "lzw predicted": ("lzw", True),
    "deflate": ("deflate", False),
    "deflate predicted": ("deflate", True),
    "packbits": ("packbits", False),
    "lzma predicted": ("lzma", True),
    "zstd": ("zstd", False),
    "zstd predicted": ("zstd", True),
}


def write(picture: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    byte_order, is_big = options.pop("byteorder", "<"), options.pop("bigtiff", False)
    with tifffile.TiffWriter(file, byteorder=byte_order, bigtiff=is_big) as writer:
        writer.write(picture, metadata=None, **options)
    return file.getvalue()


def tiff_of(fields: dict[int, int | tuple[int, ...]], body: bytes, *, order: str = "<") -> bytes:
    """Return a handmade TIFF of one strip; by default its fields describe gray bytes."""
    usual = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 279: len(body)}
    body += bytes(len(body) % 2)
    entries, tail, after = b"", b"", 8 + len(body)
    for tag, value in sorted((usual | fields).items()):
        numbers = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            tail, packed = tail + packed, struct.pack(order + "I", after + len(tail))
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", after + len(tail))
    return head + body + tail + struct.pack(order + "H", len(entries) // 12) + entries + bytes(4)


def read(data: bytes) -> NDArray[np.uint8]:
    return decode(data, LIMITS).rgb


def difference(rgb: NDArray[np.uint8], expected: NDArray[np.uint8]) -> int:
    """Return the largest difference of a sample; a gray picture is compared as gray RGB."""
    if expected.ndim == 2:
        expected = np.dstack([expected] * 3)
    assert rgb.shape == expected.shape
    return int(np.abs(rgb.astype(int) - expected).max())


SHAPES: dict[str, tuple[NDArray[np.uint8], dict[str, Any]]] = {
    "gray": (GRAY, {"photometric": "minisblack"}),
    "rgb": (COLOR, {"photometric": "rgb", "planarconfig": "contig"}),
    "planes": (
        np.ascontiguousarray(COLOR.transpose(2, 0, 1)),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
}

#: Byte order, whether it is a BigTIFF, and the size of strips or tiles, which does not divide the picture.
CONTAINERS = [
    {"byteorder": order, "bigtiff": is_big} | pieces
    for order in "<>"
    for is_big in (False, True)
    for pieces in ({"rowsperstrip": 16}, {"tile": (16, 32)})
]


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("dtype", WRITTEN)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_of_samples_is_read(
    shape: str, dtype: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    picture, options = SHAPES[shape]
    compression, is_predicted = PACKED[how]
    options = options | {"compression": compression}
    if is_predicted:
        options |= {"predictor": 3 if dtype.startswith("float") else 2}
    if compression == "lzma":
        # The usual level takes most of its time to clear a dictionary.
        options |= {"compressionargs": {"level": 0}}
    files = [write(WRITTEN[dtype](picture), **options, **container) for container in CONTAINERS]

    expected = GRAY if shape == "gray" else COLOR
    assert max(difference(read(data), expected) for data in files) <= 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "how", ["none", "lzw predicted", "deflate predicted", "lzma predicted", "zstd", "packbits"]
)
@pytest.mark.parametrize("pieces", [{"rowsperstrip": 900}, {"tile": (1024, 1024)}], ids=["strip", "tile"])
def test_a_strip_or_tile_unpacked_in_parts_is_complete(how: str, pieces: dict[str, Any]) -> None:
    compression, is_predicted = PACKED[how]
    tall = texture(900, 700)[..., 0]
    data = write(
        WRITTEN["uint16"](tall), compression=compression, predictor=2 if is_predicted else None, **pieces
    )

    assert difference(read(data), tall) == 0


def test_a_picture_may_be_far_smaller_than_its_tile() -> None:
    data = write(WRITTEN["uint16"](COLOR), photometric="rgb", compression="deflate", tile=(1024, 1024))

    assert difference(read(data), COLOR) == 0


# --- kinds of samples and colours -------------------------------------------------


def planes(picture: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Return numbers packed without gaps; every row begins with a new byte."""
    every_bit = values.astype(np.uint16)[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(every_bit.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [0, 1])
def test_samples_that_do_not_fill_bytes_are_unpacked(bits: int, order: str, photometric: int) -> None:
    most = 2**bits - 1
    values = np.round(GRAY / 255 * most).astype(np.uint16)
    stored = values if photometric else most - values
    data = tiff_of({258: bits, 262: photometric}, packed(stored, bits), order=order)

    assert difference(read(data), np.round(values / most * 255).astype(np.uint8)) <= 1


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("most", [255, 65535])
def test_a_palette_gives_its_colours(bits: int, most: int) -> None:
    palette = np.random.default_rng(3).integers(0, 256, (3, 2**bits))
    index = GRAY >> (8 - bits)
    # They should have 16 bits, but some writers use only 8 of them.
    table = tuple((palette * (most // 255)).ravel().tolist())
    data = tiff_of({258: bits, 262: 3, 320: table}, packed(index, bits))

    assert difference(read(data), palette.T[index].astype(np.uint8)) == 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_white_may_be_zero(dtype: str) -> None:
    assert difference(read(write(WRITTEN[dtype](255 - GRAY), photometric="miniswhite")), GRAY) <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_cmyk_becomes_rgb(dtype: str, planar: str, compression: str | None) -> None:
    inks = WRITTEN[dtype](np.dstack([255 - COLOR, np.zeros_like(GRAY)]))
    picture = inks if planar == "contig" else planes(inks)
    data = write(picture, photometric="separated", planarconfig=planar, compression=compression)

    assert difference(read(data), COLOR) <= 1


def test_black_ink_takes_from_every_colour() -> None:
    inks = np.full((32, 32, 4), (0, 255, 128, 128), np.uint8)

    assert (
        difference(read(write(inks, photometric="separated")), np.full((32, 32, 3), (127, 0, 63), np.uint8))
        <= 1
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha", "unspecified"])
def test_alpha_is_laid_on_white_and_other_samples_are_ignored(dtype: str, planar: str, kind: str) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:20], alpha[20:25] = 128, 0
    share = alpha / 255
    color = np.round(COLOR * share).astype(np.uint8) if kind == "assocalpha" else COLOR
    picture = WRITTEN[dtype](np.dstack([color, alpha]))
    laid = picture if planar == "contig" else planes(picture)
    data = write(laid, photometric="rgb", extrasamples=[kind], planarconfig=planar)

    expected = COLOR if kind == "unspecified" else np.round(COLOR * share + 255 * (1 - share))
    assert difference(read(data), expected.astype(np.uint8)) <= 1


def test_gray_may_have_alpha() -> None:
    picture = np.dstack([GRAY, np.full_like(GRAY, 255)])
    picture[:20, :, 1] = 0
    expected = np.where(picture[..., 1], GRAY, 255).astype(np.uint8)
    data = write(picture, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])

    assert difference(read(data), expected) == 0


@pytest.mark.parametrize(("samples", "picture"), [(1, GRAY), (3, COLOR)])
def test_samples_without_a_photometric_tag_are_brightness(samples: int, picture: NDArray[np.uint8]) -> None:
    data = tiff_of({277: samples}, picture.tobytes()).replace(
        struct.pack("<HHI", 262, 4, 1), struct.pack("<HHI", 261, 4, 1)
    )

    assert difference(read(data), picture) == 0


def test_the_first_three_of_many_bands_are_the_colours() -> None:
    bands = np.dstack([COLOR, GRAY, GRAY])

    assert difference(read(write(bands, photometric="rgb", planarconfig="contig")), COLOR) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", [8, 9])
def test_lab_has_its_colours(dtype: type, photometric: int) -> None:
    # With the white of D50, the orange of sRGB 200, 120, 40 is L* 58.4, a* 28, b* 55.
    lab = np.zeros((32, 32, 3), np.uint8)
    lab[:16], lab[16:] = (149, 128 + 28, 128 + 55), (255, 128, 128)
    stored = lab if photometric == 9 else lab ^ np.array([0, 128, 128], np.uint8)
    wide = stored.astype(dtype) << (8 * (np.dtype(dtype).itemsize - 1))
    data = tiff_of({256: 32, 257: 32, 258: 8 * wide.itemsize, 262: photometric, 277: 3}, wide.tobytes())

    expected = np.zeros((32, 32, 3), np.uint8)
    expected[:16], expected[16:] = (200, 120, 40), (255, 255, 255)
    assert difference(read(data), expected) <= 2


def test_ycbcr_becomes_rgb() -> None:
    ycbcr = np.asarray(Image.fromarray(COLOR).convert("YCbCr"))
    data = tiff_of({262: 6, 277: 3, 530: (1, 1)}, ycbcr.tobytes())

    assert difference(read(data), COLOR) <= 3


@pytest.mark.parametrize("pieces", [{"rowsperstrip": 16}, {"tile": (16, 32)}], ids=["strips", "tiles"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ("gray", {}),
        ("rgb", {"subsampling": (1, 1)}),
        ("rgb", {"subsampling": (2, 2)}),
        ("planes", {}),
    ],
)
def test_jpeg_in_a_tiff_is_read(shape: str, options: dict[str, Any], pieces: dict[str, Any]) -> None:
    picture, kind = SHAPES[shape]
    # Coarser chroma sampling needs a picture without edges.
    smooth = np.full_like(picture, 90) if options.get("subsampling") == (2, 2) else picture
    data = write(smooth, compression="jpeg", compressionargs={"level": 99}, **kind, **options, **pieces)

    expected = np.full_like(COLOR, 90) if smooth is not picture else GRAY if shape == "gray" else COLOR
    assert difference(read(data), expected) <= 8


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_jpeg_in_a_tiff_with_separate_tables_is_read(mode: str) -> None:
    picture = Image.fromarray(COLOR).convert(mode)
    data = save(picture, "TIFF", compression="jpeg", quality=98)

    assert difference(read(data), np.asarray(picture.convert("RGB"))) <= 12


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"])
def test_fax_compression_is_read(compression: str) -> None:
    picture = Image.fromarray(GRAY > 127)

    data = save(picture, "TIFF", compression=compression)

    assert difference(read(data), np.asarray(picture.convert("L"))) == 0


@pytest.mark.parametrize(
    ("compression", "packed"), [(1, GRAY.tobytes()), (5, imagecodecs.lzw_encode(GRAY.tobytes()))]
)
def test_bits_may_be_stored_least_significant_first(compression: int, packed: bytes) -> None:
    turned = np.packbits(np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little"))

    assert difference(read(tiff_of({259: compression, 266: 2}, turned.tobytes())), GRAY) == 0


# --- numbers of no fixed range ----------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32), (0, 255)),
        (np.linspace(0, 0.5, 256, dtype=np.float32), (0, 127)),
        (np.linspace(0, 3, 256, dtype=np.float32), (0, 255)),
        (np.linspace(0, 200, 256, dtype=np.float32), (0, 200)),
        (np.linspace(0, 65535, 256, dtype=np.float64), (0, 255)),
        (np.linspace(1e5, 2e5, 256, dtype=np.float32), (0, 255)),
        (np.linspace(-5, 9000, 256, dtype=np.float32), (0, 255)),
        (np.linspace(0, 2**32 - 1, 256).astype(np.uint32), (0, 255)),
        (np.linspace(0, 2**32 * 0.75, 256).astype(np.uint32), (0, 191)),
        (np.linspace(0, 2000000, 256).astype(np.uint32), (0, 255)),
        (np.array([0, 2**64 - 1] * 128, np.uint64), (0, 255)),
        (np.array([0, 2**63 - 1] * 128, np.int64), (0, 255)),
        (np.array([-1.5e308, 1.5e308] * 128), (0, 0)),
        (np.linspace(0, 255, 256).astype(np.uint32), (0, 255)),
        (np.linspace(0, 65535, 256).astype(np.uint32), (0, 255)),
        (np.linspace(0, 127, 256).astype(np.int8), (0, 255)),
        (np.linspace(0, 32767, 256).astype(np.int16), (0, 255)),
        (np.linspace(-1024, 3071, 256).astype(np.int16), (0, 255)),
        (np.linspace(-25000, 23000, 256).astype(np.int16), (30, 217)),
        (np.linspace(0, 2**31 - 1, 256).astype(np.int32), (0, 255)),
        (np.full(256, 7.5, np.float32), (0, 0)),
        (np.zeros(256, np.float32), (0, 0)),
    ],
)
def test_the_range_of_numbers_is_guessed_from_their_values(
    values: NDArray[Any], ends: tuple[int, int]
) -> None:
    rgb = read(write(np.tile(values, (20, 1)), photometric="minisblack"))

    assert np.abs(rgb[5, [0, -1], 0].astype(int) - ends).max() <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_dark_and_does_not_affect_the_range(dtype: str) -> None:
    values = np.tile(np.linspace(1000, 2000, 64), (32, 1)).astype(dtype)
    values[0, 0], values[1, 1], values[2, 2] = np.nan, np.inf, -np.inf
    rgb = read(write(values, photometric="minisblack"))

    assert rgb[0, 0, 0] == rgb[1, 1, 0] == rgb[2, 2, 0] == 0
    assert (rgb[9, 0, 0], rgb[9, -1, 0]) == (0, 255)


def test_a_picture_without_a_single_number_is_black() -> None:
    assert read(write(np.full((32, 32), np.nan, np.float32), photometric="minisblack")).max() == 0


# --- which picture ----------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_tiff_is_applied(orientation: int) -> None:
    data = write(lay(COLOR, orientation), photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    photo = decode(data, LIMITS)

    assert difference(photo.rgb, COLOR) == 0
    assert (photo.height, photo.width, photo.orientation) == (HEIGHT, WIDTH, orientation)


def test_a_large_tiff_is_reduced_as_requested() -> None:
    photo = decode(
        write(texture(101, 202), photometric="rgb"), LIMITS, least_size=lambda h, w: (h // 4, w // 4)
    )

    assert (photo.height, photo.width) == (101, 202)
    assert photo.rgb.shape == (26, 51, 3)


def paged(*pages: tuple[NDArray[Any], dict[str, Any]], subifds: int = 0, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for number, (picture, how) in enumerate(pages):
            below = subifds if number == 0 else 0
            writer.write(picture, metadata=None, subifds=below, **({"photometric": "rgb"} | how))
    return file.getvalue()


SMALL = np.zeros((20, 30, 3), np.uint8)
SENSOR = {"photometric": 32803}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("subifds", [0, 1])
def test_a_thumbnail_before_the_picture_is_ignored(order: str, is_big: bool, subifds: int) -> None:
    pages = [(SMALL, {"subfiletype": 1}), (COLOR, {}), (SMALL, {})]
    data = paged(*pages, subifds=subifds, byteorder=order, bigtiff=is_big)

    assert difference(read(data), COLOR) == 0


@pytest.mark.parametrize("tag", [(255, 3, 1, 2, True), (254, 4, 1, 4, True)], ids=["old thumbnail", "mask"])
def test_a_thumbnail_marked_the_old_way_and_a_mask_are_ignored(tag: tuple[Any, ...]) -> None:
    data = paged((SMALL, {"extratags": [tag]}), (COLOR, {}))

    assert difference(read(data), COLOR) == 0


@pytest.mark.parametrize("kind", [2, 0])
def test_of_several_pages_the_first_is_the_picture(kind: int) -> None:
    assert difference(read(paged((COLOR, {"subfiletype": kind}), (SMALL, {"subfiletype": kind}))), COLOR) == 0


def test_smaller_copies_below_a_picture_do_not_matter() -> None:
    assert difference(read(paged((COLOR, {}), (SMALL, {"subfiletype": 1}), subifds=1)), COLOR) == 0


RAW_FILES = {
    "sensor": paged((GRAY, SENSOR)),
    "linear": paged((COLOR, {"photometric": 34892})),
    "DNG": paged((COLOR, {"extratags": [(50706, 1, 4, b"\1\4\0\0", True)]})),
    "thumbnail, sensor below": paged((SMALL, {"subfiletype": 1}), (GRAY, SENSOR), subifds=1),
    "preview, sensor below": paged((COLOR, {}), (GRAY, SENSOR), subifds=1),
    "thumbnail, sensor next": paged((SMALL, {"subfiletype": 1}), (GRAY, SENSOR), byteorder=">"),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
    "preview alone": paged((SMALL, {"subfiletype": 1})),
}


@pytest.mark.parametrize("name", RAW_FILES)
def test_the_raw_file_of_a_camera_is_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedFormat, match="raw"):
        read(RAW_FILES[name])


def test_the_name_of_a_camera_maker_does_not_make_a_raw_file() -> None:
    letters = np.tile(np.frombuffer(b"CR\2\0IIII", np.uint8), (20, 4))
    data = tiff_of({256: 32, 257: 20}, letters.tobytes())

    assert data[8:12] == b"CR\2\0"
    assert difference(read(data), letters) == 0


# --- what is not read -------------------------------------------------------------


def with_number(data: bytes, tag: int, value: int) -> bytes:
    """Return a TIFF with another value of one field."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        field = file.pages.first.tags[tag]
        struct.pack_into(file.byteorder + {3: "H", 4: "I"}[field.dtype], changed, field.valueoffset, value)
    return bytes(changed)


UNREAD = {
    "JPEG 2000": write(COLOR, photometric="rgb", compression="jpeg2000"),
    "JPEG XL": write(COLOR, photometric="rgb", compression="jpegxl"),
    "WebP": write(COLOR, photometric="rgb", compression="webp"),
    "LERC": write(GRAY, compression="lerc"),
    "JPEG of the old kind": with_number(write(GRAY), 259, 6),
    "method 40000": with_number(write(GRAY), 259, 40000),
    "complex": write(GRAY.astype(np.complex64), photometric="minisblack"),
    "of several kinds": tiff_of({258: (5, 6, 5), 262: 2, 277: 3}, bytes(2 * HEIGHT * WIDTH)),
    "of 24 bits": tiff_of({258: 24, 339: 3}, bytes(3 * HEIGHT * WIDTH)),
    "of 17 bits": tiff_of({258: 17}, bytes(3 * HEIGHT * WIDTH)),
    "colours of kind 10": tiff_of({262: 10, 277: 3}, COLOR.tobytes()),
    "colours of kind 32845": tiff_of({262: 32845, 277: 3, 258: 16}, bytes(6 * HEIGHT * WIDTH)),
    "inks other": tiff_of({262: 5, 277: 4, 332: 2}, bytes(4 * HEIGHT * WIDTH)),
    "chroma": tiff_of({262: 6, 277: 3, 530: (2, 2)}, COLOR.tobytes()),
    "video": tiff_of({262: 6, 277: 3, 530: (1, 1), 532: (16, 235, 128, 240, 128, 240)}, COLOR.tobytes()),
    "predictor 3": with_number(write(GRAY, compression="lzw", predictor=2), 317, 3),
    "predictor 9": with_number(write(GRAY, compression="lzw", predictor=2), 317, 9),
    "other than 8 bits inside": tiff_of({259: 7, 258: 12}, bytes(2 * HEIGHT * WIDTH)),
    "JPEG of 2 samples": save(Image.fromarray(GRAY).convert("LA"), "TIFF", compression="jpeg"),
    "samples in a pixel": tiff_of({277: 65535}, bytes(HEIGHT * WIDTH)),
}


@pytest.mark.parametrize("what", UNREAD)
def test_an_unsupported_tiff_names_what_is_unsupported(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedFormat, match=what):
        read(UNREAD[what])

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", [*PACKED, "jpeg"])
def test_no_library_prints_about_a_damaged_tiff(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    compression, is_predicted = PACKED.get(how, ("jpeg", False))
    data = bytearray(
        write(COLOR, photometric="rgb", compression=compression, predictor=2 if is_predicted else None)
    )
    data[-HEIGHT * WIDTH // 2 :: 3] = b"\xff" * len(data[-HEIGHT * WIDTH // 2 :: 3])
    with contextlib.suppress(ImageError):
        read(bytes(data))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", [*PACKED, "jpeg"])
@pytest.mark.parametrize("order", "<>")
def test_a_tiff_that_stops_early_is_never_read(how: str, order: str) -> None:
    compression, _ = PACKED.get(how, ("jpeg", False))
    data = write(COLOR, photometric="rgb", compression=compression, rowsperstrip=16, byteorder=order)

    for length in range(9, len(data) - 1, max(1, len(data) // 23)):
        with pytest.raises(ImageCorrupt):
            read(data[:length])


@pytest.mark.parametrize("how", [*PACKED, "jpeg"])
def test_a_strip_that_stops_early_is_never_read(how: str) -> None:
    compression, _ = PACKED.get(how, ("jpeg", False))
    data = write(COLOR, photometric="rgb", compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        size = file.pages[0].databytecounts[0]

    with pytest.raises(ImageCorrupt):
        read(with_number(data, 279, size // 2))


SPOILED = [
    write(SHAPES[shape][0], compression=PACKED[how][0], **SHAPES[shape][1], **CONTAINERS[number])
    for number, (shape, how) in enumerate(
        [("gray", "lzw"), ("rgb", "zstd"), ("planes", "packbits"), ("rgb", "none")]
    )
] + [save(Image.fromarray(COLOR), "TIFF", compression="jpeg"), *RAW_FILES.values()]


@pytest.mark.parametrize("number", range(len(SPOILED)))
def test_a_tiff_with_any_bytes_changed_is_read_or_refused(number: int) -> None:
    rng = np.random.default_rng(number)
    for _ in range(100):
        data = bytearray(SPOILED[number])
        for at in rng.integers(4, len(data), 4):
            data[at] = rng.choice([0, 1, 2, 127, 255])
        with contextlib.suppress(ImageError):
            read(bytes(data))
