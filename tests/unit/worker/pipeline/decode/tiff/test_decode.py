"""Photos in every format, mode and orientation, and wrong, truncated or hostile files."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from shared.errors import (
    ImageCorrupt,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    UnsupportedFormat,
)
from tests.unit.worker.pipeline.pictures import (
    BLUE,
    GREEN,
    LIMITS,
    NAMES,
    RED,
    WHITE,
    WITH_EXIF,
    WRITERS,
    corners,
    png,
    save,
    save_turned,
    scene,
    texture,
)
from worker.pipeline.decode.decode import decode
from worker.pipeline.photo import Limits


def assert_scene(rgb: np.ndarray, tolerance: int = 12) -> None:
    difference = np.abs(np.array(corners(rgb)) - np.array([RED, GREEN, BLUE, WHITE]))
    assert difference.max() <= tolerance, corners(rgb)


# --- formats and colours --------------------------------------------------------


@pytest.mark.parametrize("file_format", WRITERS)
def test_every_format_gives_its_colours_in_the_order_red_green_blue(file_format: str) -> None:
    photo = decode(save(scene(), file_format), LIMITS)

    assert (photo.height, photo.width, photo.format) == (96, 128, NAMES[file_format])
    assert photo.rgb.shape == (96, 128, 3)
    assert photo.rgb.dtype == np.uint8
    assert_scene(photo.rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", WITH_EXIF)
def test_orientation_is_applied_exactly_once(file_format: str, orientation: int) -> None:
    photo = decode(save_turned(scene(), file_format, orientation), LIMITS)

    assert (photo.height, photo.width) == photo.rgb.shape[:2] == (96, 128)
    assert photo.orientation == orientation
    assert_scene(photo.rgb)


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
def test_exif_is_ignored_if_the_container_itself_can_rotate_the_picture(file_format: str) -> None:
    # The writers convert an orientation to a property of the container. So another tag is written, and
    # renamed to the orientation afterwards.
    exif = Image.Exif()
    exif[0x0213] = 6
    data = save(scene(), file_format, exif=exif.tobytes())
    assert b"\x13\x02\x03\0" in data or b"\x02\x13\0\x03" in data
    data = data.replace(b"\x13\x02\x03\0", b"\x12\x01\x03\0").replace(b"\x02\x13\0\x03", b"\x01\x12\0\x03")
    photo = decode(data, LIMITS)

    assert photo.rgb.shape[:2] == (96, 128)
    assert photo.orientation == 1
    assert_scene(photo.rgb)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def save_with_xmp(file_format: str, **options: Any) -> bytes:
    """Return an upright file that only its XMP calls rotated."""
    if file_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return save(scene(), "PNG", pnginfo=text, **options)
    if file_format == "TIFF":
        return save(scene(), "TIFF", tiffinfo={700: XMP}, **options)
    # The writers of HEIF and AVIF would rotate the picture, so the name is corrected afterwards.
    data = save(scene(), file_format, xmp=XMP.replace(b"Orientation", b"Prientation"), **options)
    return data.replace(b"Prientation", b"Orientation")


@pytest.mark.parametrize("file_format", WITH_EXIF)
def test_xmp_does_not_rotate_a_picture(file_format: str) -> None:
    data = save_with_xmp(file_format)
    photo = decode(data, LIMITS)

    assert XMP in data
    assert (photo.rgb.shape[:2], photo.orientation) == ((96, 128), 1)
    assert_scene(photo.rgb)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_counts_beside_xmp(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    photo = decode(save_with_xmp(file_format, exif=exif.tobytes()), LIMITS)

    assert photo.orientation == 3
    assert_scene(photo.rgb[::-1, ::-1])


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    photo = decode(save_turned_raw(orientation), LIMITS)

    assert photo.orientation == 1
    assert_scene(photo.rgb)


def save_turned_raw(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(scene(), "JPEG", exif=exif.tobytes())


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_metadata_is_harmless(exif: bytes) -> None:
    photo = decode(save(scene(), "JPEG", exif=exif), LIMITS)

    assert photo.orientation == 1
    assert_scene(photo.rgb)


def test_the_content_of_a_file_decides_and_not_its_name() -> None:
    assert decode(save(scene(), "PNG"), LIMITS).format == "png"


@pytest.mark.parametrize(
    ("file_format", "mode"),
    [("TIFF", mode) for mode in ("CMYK", "L", "1", "P", "RGBA", "LA", "YCbCr")]
    + [("PNG", mode) for mode in ("L", "1", "P", "RGBA", "LA")]
    + [("JPEG", mode) for mode in ("CMYK", "L", "YCbCr")],
)
def test_every_mode_becomes_rgb(file_format: str, mode: str) -> None:
    picture = Image.fromarray(scene()).convert(mode)
    expected = np.asarray(picture.convert("RGB"))
    photo = decode(save(picture, file_format), LIMITS)

    assert photo.rgb.shape == (96, 128, 3)
    differences = np.abs(np.array(corners(photo.rgb)) - np.array(corners(expected)))
    assert differences.max() <= 12


def test_adobe_cmyk_jpeg_is_not_a_negative() -> None:
    cmyk = Image.merge("CMYK", [Image.new("L", (64, 64), v) for v in (0, 255, 255, 0)])
    data = save(cmyk, "JPEG")

    assert b"Adobe" in data
    assert np.abs(decode(data, LIMITS).rgb.astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_composited_on_white(file_format: str) -> None:
    rgba = np.dstack([np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)])
    rgba[:, :32, 3] = 0
    rgba[:, 32:48, 3] = 128
    rgb = decode(save(rgba, file_format), LIMITS).rgb

    assert np.abs(rgb[32, 10].astype(int) - 255).max() <= 4
    assert np.abs(rgb[32, 40].astype(int) - 127).max() <= 6
    assert rgb[32, 58].max() <= 4


def test_a_palette_with_transparency_is_composited_on_white() -> None:
    picture = Image.new("P", (64, 64), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50] + [0] * 750)
    picture.paste(0, (0, 0, 32, 64))
    rgb = decode(save(picture, "PNG", transparency=0), LIMITS).rgb

    assert tuple(rgb[5, 5]) == (255, 255, 255)
    assert tuple(rgb[5, 60]) == (200, 100, 50)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_and_not_clipped(file_format: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    rgb = decode(save(np.tile(ramp, (64, 1)), file_format), LIMITS).rgb

    expected = np.arange(256)
    assert np.abs(rgb[10, :, 0].astype(int) - expected).max() <= 1
    assert (rgb[..., 0] == rgb[..., 1]).all()
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_16_bit_rgb_png_is_scaled() -> None:
    row = b"\0" + struct.pack(">HHH", 65535, 32768, 256) * 32
    rgb = decode(png(32, 20, depth=16, body=zlib.compress(row * 20)), LIMITS).rgb

    assert np.abs(rgb[3, 3].astype(int) - (255, 128, 1)).max() <= 1


def tiff(
    values: np.ndarray, bits: int, sample_format: int, *, photometric: int = 1, samples: int = 1
) -> bytes:
    """Return an uncompressed little-endian TIFF made by hand."""
    height, width = values.shape[:2]
    body = values.tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, samples), (278, 4, height), (279, 4, len(body)), (339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(body))
        + body
        + struct.pack("<H", len(tags))
        + entries
        + b"\0" * 4
    )


@pytest.mark.parametrize(
    ("values", "bits", "sample_format"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32), 32, 3),
        (np.linspace(0, 255, 256, dtype=np.float32), 32, 3),
        (np.linspace(-5, 9000, 256, dtype=np.float32), 32, 3),
        (np.linspace(0, 1e9, 256).astype(np.int32), 32, 2),
        (np.linspace(-32768, 32767, 256).astype(np.int16), 16, 2),
        (np.linspace(0, 65535, 256).astype(np.uint16), 16, 1),
    ],
    ids=["unit float", "byte float", "any float", "32-bit int", "signed 16-bit", "16-bit"],
)
def test_numbers_of_a_tiff_are_scaled_to_bytes(values: np.ndarray, bits: int, sample_format: int) -> None:
    rgb = decode(tiff(np.tile(values, (20, 1)), bits, sample_format), LIMITS).rgb

    assert np.abs(rgb[10, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_a_float_tiff_with_nan_and_infinity_is_still_a_picture() -> None:
    values = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (32, 1))
    values[0, 0], values[1, 1] = np.nan, np.inf
    rgb = decode(tiff(values, 32, 3), LIMITS).rgb

    assert rgb[0, 0, 0] == rgb[1, 1, 0] == 0
    assert rgb[5, 63, 0] == 255


def test_white_is_zero_is_obeyed_in_16_bits() -> None:
    rgb = decode(tiff(np.zeros((20, 20), np.uint16), 16, 1, photometric=0), LIMITS).rgb

    assert rgb.min() == 255


def test_a_lab_tiff_has_its_colours() -> None:
    lab = np.zeros((32, 32, 3), np.uint8)
    lab[...] = (136, 208, 195)  # L* 53, a* 80, b* 67 is pure red.
    picture = Image.frombytes(
        "LAB", (32, 32), np.bitwise_xor(lab, np.array([0, 128, 128], np.uint8)).tobytes()
    )
    rgb = decode(save(picture, "TIFF"), LIMITS).rgb

    assert np.abs(rgb[5, 5].astype(int) - (255, 0, 0)).max() <= 12


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_the_first_of_several_frames_is_used(file_format: str) -> None:
    data = save(scene(), file_format, save_all=True, append_images=[Image.new("RGB", (128, 96))])

    assert_scene(decode(data, LIMITS).rgb)


def test_the_first_of_several_pages_is_used() -> None:
    data = save(scene(), "TIFF", save_all=True, append_images=[Image.new("RGB", (40, 40))])

    assert_scene(decode(data, LIMITS).rgb)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_every_tiff_compression_is_read(compression: str) -> None:
    assert_scene(decode(save(scene(), "TIFF", compression=compression), LIMITS).rgb)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_is_read(subsampling: str, progressive: bool) -> None:
    assert_scene(decode(save(scene(), "JPEG", subsampling=subsampling, progressive=progressive), LIMITS).rgb)


# --- reduced decoding -------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_upright_and_knows_its_full_size(orientation: int) -> None:
    data = save_turned(scene(770, 1026), "JPEG", orientation)
    photo = decode(data, LIMITS, least_size=lambda h, w: (h // 5, w // 5))

    assert (photo.height, photo.width) == (770, 1026)
    assert photo.rgb.shape == (193, 257, 3)
    assert_scene(photo.rgb)


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        ((1, 1), (63, 100)),
        ((64, 1), (125, 200)),
        ((1, 101), (125, 200)),
        ((251, 1), (500, 800)),
        ((9**9, 9**9), (500, 800)),
    ],
)
def test_the_reduction_keeps_at_least_what_is_asked_for(
    least: tuple[int, int], expected: tuple[int, int]
) -> None:
    photo = decode(save(texture(500, 800), "JPEG"), LIMITS, least_size=lambda h, w: least)

    assert photo.rgb.shape[:2] == expected


# --- files that are no photos -----------------------------------------------------


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ImageEmpty):
        decode(b"", LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"This is a shopping list.\n" * 10,
        b"BMW, Audi, Opel\n" * 10,
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj" * 20,
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"/>',
        b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + b"\0" * 100,
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + b"\0" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 100,
        b"\x7fELF" + b"\0" * 100,
        b"\0" * 1000,
        b"\xff",
        b"8BPS\0\x01" + b"\0" * 100,
    ],
    ids=["text", "bmw", "pdf", "svg", "mp4", "mov", "zip", "wav", "elf", "zeros", "byte", "psd"],
)
def test_anything_but_a_picture_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        decode(data, LIMITS)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypcrx ", "Canon CR3"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"\0\0\0\x18ftypisom", "video"),
    ],
)
def test_an_unsupported_picture_is_named_by_its_kind(head: bytes, kind: str) -> None:
    with pytest.raises(UnsupportedFormat, match=kind):
        decode(head + bytes(100), LIMITS)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", WRITERS)
def test_the_limit_of_pixels_holds_for_every_format(file_format: str) -> None:
    limits = Limits(max_pixels=96 * 128 - 1, min_side=1, max_bytes=10**9)
    with pytest.raises(ImageTooLarge, match="128 x 96"):
        decode(save(scene(), file_format), limits)


@pytest.mark.parametrize("file_format", WRITERS)
def test_a_picture_of_exactly_the_limit_is_accepted(file_format: str) -> None:
    limits = Limits(max_pixels=96 * 128, min_side=96, max_bytes=10**9)

    assert decode(save(scene(), file_format), limits).height == 96


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15), (4000, 1)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_picture_too_small_is_refused(file_format: str, size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooSmall):
        decode(save(Image.new("RGB", size), file_format), LIMITS)


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(ImageTooLarge, match="1,000 bytes"):
        decode(b"\xff" * 1001, Limits(max_pixels=1, min_side=1, max_bytes=1000))


def bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def patch_jpeg_size(width: int, height: int) -> bytes:
    data = bytearray(save(scene(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png(100_000, 100_000),
        png(2**31 - 1, 2**31 - 1),
        bmp_header(60_000, 60_000),
        bmp_header(2**31 - 1, 2**31 - 1),
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\0\0,\0\0\0\0"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\x08\0;",
        webp_header(16384, 16384),
        patch_jpeg_size(65500, 65500),
        tiff(np.zeros((16, 16), np.uint8), 8, 1).replace(
            struct.pack("<HHII", 256, 4, 1, 16), struct.pack("<HHII", 256, 4, 1, 2**31 - 1)
        ),
    ],
    ids=["png", "hugepng", "bmp", "hugebmp", "gif", "webp", "jpeg", "tiff"],
)
def test_an_absurd_size_is_refused_before_decoding(data: bytes) -> None:
    with pytest.raises((ImageTooLarge, ImageCorrupt)):
        decode(data, LIMITS)


@pytest.mark.parametrize(
    "data",
    [png(9000, 9000, body=zlib.compress(b"\0" * 100)), patch_jpeg_size(9000, 9000), bmp_header(9000, 9000)],
    ids=["png", "jpeg", "bmp"],
)
def test_an_allowed_size_without_its_pixels_is_corrupt(data: bytes) -> None:
    with pytest.raises(ImageCorrupt):
        decode(data, LIMITS)


def test_the_limit_of_pillow_neither_warns_nor_refuses_an_allowed_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert decode(save(scene(), "GIF"), LIMITS).height == 96
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_progressive_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = save(texture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageCorrupt, match="scans"):
        decode(data[:last] + data[last:-2] * 500 + b"\xff\xd9", LIMITS)


# --- damaged files ----------------------------------------------------------------


@pytest.mark.parametrize("file_format", WRITERS)
def test_a_truncated_file_is_refused_wherever_it_stops(file_format: str) -> None:
    data = save(texture(), file_format)
    for length in (*range(30, len(data) - 1, max(1, len(data) // 97)), len(data) - 16):
        with pytest.raises(ImageError) as caught:
            decode(data[:length], LIMITS)
        assert caught.value.code == "image_corrupt", f"{length} of {len(data)} bytes"


@pytest.mark.parametrize("cut", range(1, 40))
@pytest.mark.parametrize("file_format", WRITERS)
def test_a_file_without_its_last_bytes_is_refused_or_complete(file_format: str, cut: int) -> None:
    data = save(texture(), file_format)
    whole = decode(data, LIMITS).rgb
    try:
        rgb = decode(data[:-cut], LIMITS).rgb
    except ImageCorrupt:
        return

    assert (rgb == whole).all()


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 2}, {"quality": 40}])
@pytest.mark.parametrize("by", [1, 8])
def test_a_part_of_a_jpeg_is_never_accepted_as_the_whole(options: dict[str, int], by: int) -> None:
    data = save(texture(640, 800), "JPEG", **options)
    for length in range(400, len(data) - 1, len(data) // 41):
        for end in (b"", b"\xff\xd9"):
            with pytest.raises(ImageCorrupt):
                decode(data[:length] + end, LIMITS, least_size=lambda h, w: (h // by, w // by))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_part_of_a_tiff_with_its_directory_first_is_never_accepted_as_the_whole(compression: str) -> None:
    data = save(texture(), "TIFF", compression=compression)
    whole = decode(data, LIMITS).rgb
    for length in range(8, len(data), len(data) // 61):
        # Padded to its old length with zeros, as after a disk failure.
        spoiled = data[:length] + b"\0" * (len(data) - length)
        try:
            rgb = decode(spoiled, LIMITS).rgb
        except ImageError:
            continue
        assert rgb.shape == whole.shape


def test_pillow_never_fills_in_missing_pixels() -> None:
    decode(save(scene(), "GIF"), LIMITS)

    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("file_format", WRITERS)
def test_bytes_after_the_end_of_a_picture_are_ignored(file_format: str) -> None:
    data = save(texture(), file_format)
    whole = decode(data, LIMITS).rgb
    photo = decode(data + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20, LIMITS)

    assert (photo.rgb == whole).all()


def test_a_motion_photo_and_a_stereo_pair_give_their_first_picture() -> None:
    first, second = save(scene(), "JPEG"), save(texture(), "JPEG")

    stereo = save(scene(), "MPO", save_all=True, append_images=[Image.fromarray(texture())])

    assert_scene(decode(first + second, LIMITS).rgb)
    assert_scene(decode(stereo, LIMITS).rgb)


def test_a_jpeg_with_stray_bytes_before_its_end_is_complete() -> None:
    data = save(scene(), "JPEG")

    assert_scene(decode(data[:-2] + b"\0\0\0\0\0\0" + b"\xff\xd9", LIMITS).rgb)


def test_stray_bytes_do_not_hide_a_missing_end() -> None:
    data = save(texture(), "JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    with pytest.raises(ImageCorrupt):
        decode(data[:second] + b"\0\0\0\0" + data[second : second + 40], LIMITS)


@pytest.mark.parametrize("sampling", [b"\x41\x11\x11", b"\x13\x11\x11", b"\x11\x22\x11"])
def test_a_jpeg_of_unusual_sampling_is_decoded_or_refused_but_never_crashes(sampling: bytes) -> None:
    data = bytearray(save(texture(), "JPEG"))
    at = data.index(b"\xff\xc0") + 11
    data[at], data[at + 3], data[at + 6] = sampling
    try:
        photo = decode(bytes(data), LIMITS)
    except ImageCorrupt:
        return

    assert photo.rgb.shape == (96, 128, 3)


@pytest.mark.parametrize("file_format", WRITERS)
def test_random_damage_gives_a_picture_or_an_image_error_and_nothing_else(file_format: str) -> None:
    data = save(texture(48, 64), file_format)
    rng = np.random.default_rng(len(data))
    for _ in range(150):
        spoiled = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 8)):
            spoiled[at] = rng.integers(0, 256)
        try:
            photo = decode(bytes(spoiled), LIMITS)
        except ImageError:
            continue
        assert photo.rgb.dtype == np.uint8
        assert photo.rgb.shape[2] == 3


@pytest.mark.parametrize("file_format", WRITERS)
def test_a_header_without_a_body_gives_an_image_error(file_format: str) -> None:
    data = save(texture(), file_format)
    for length in range(1, 64):
        with pytest.raises(ImageError):
            decode(data[:length], LIMITS)
