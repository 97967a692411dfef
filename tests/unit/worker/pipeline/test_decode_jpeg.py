"""JPEGs that violate the standard beside their pixels are accepted; those that lack pixels are refused."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageCorrupt
from tests.unit.worker.pipeline.pictures import LIMITS, save, texture
from worker.pipeline.decode.decode import decode

PICTURE = texture(160, 208)
END = b"\xff\xd9"

#: All relevant kinds of JPEG, of the same size.
KINDS = {
    "baseline": save(PICTURE, "JPEG"),
    "subsampled": save(PICTURE, "JPEG", subsampling="4:2:0"),
    "progressive": save(PICTURE, "JPEG", progressive=True),
    "restarts": save(PICTURE, "JPEG", restart_marker_blocks=3),
    "progressive restarts": save(PICTURE, "JPEG", progressive=True, restart_marker_blocks=5),
    "gray": save(Image.fromarray(PICTURE).convert("L"), "JPEG"),
    "gray progressive": save(Image.fromarray(PICTURE).convert("L"), "JPEG", progressive=True),
    "cmyk": save(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
}
SEQUENTIAL = [name for name in KINDS if "progressive" not in name]

MP4 = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20


def pixels(data: bytes, by: int = 1) -> NDArray[np.uint8]:
    return decode(data, LIMITS, least_size=lambda h, w: (h // by, w // by)).rgb


def assert_same_pixels(data: bytes, kind: str) -> None:
    """Assert that a file has exactly the pixels of the valid one, at full size and reduced."""
    for by in (1, 8):
        np.testing.assert_array_equal(pixels(data, by), pixels(KINDS[kind], by))


def assert_refused(data: bytes) -> None:
    for by in (1, 8):
        with pytest.raises(ImageCorrupt):
            pixels(data, by)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


def inserted(data: bytes, *segments: bytes) -> bytes:
    """Insert segments after the start of a JPEG."""
    return data[:2] + b"".join(segments) + data[2:]


def without(data: bytes, marker: int) -> bytes:
    at = data.index(bytes((0xFF, marker)))
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]


def markers(data: bytes) -> list[int]:
    """Return the positions of the segments, and of the end."""
    places, at = [], 2
    while data[at : at + 2] != END:
        places.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[places[-1] + 1] == 0xDA:
            found = re.compile(rb"\xff[^\0\xd0-\xd7]").search(data, at)
            assert found is not None
            at = found.start()
    return [*places, at]


def with_before_every_marker(data: bytes, stray: bytes) -> bytes:
    """Insert bytes before every marker but the first two, without which no program accepts a JPEG."""
    places = markers(data)[1:]
    parts = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    return data[: places[0]] + b"".join(stray + part for part in parts)


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", bytes(range(256)))
    return file.getvalue()


# --- nothing is missing -----------------------------------------------------------


@pytest.mark.parametrize("parameters", [b"\0\0\0", b"\0\x3f\x01", b"\1\5\x10", b"\xff\xff\xff"])
@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_parameters_of_a_scan_that_has_none_do_not_matter(kind: str, parameters: bytes) -> None:
    data = KINDS[kind]
    at = data.index(b"\xff\xda") + 5 + 2 * data[data.index(b"\xff\xda") + 4]

    assert_same_pixels(data[:at] + parameters + data[at + 3 :], kind)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\0",
        bytes(5000),
        b"\xff",
        b"\xff\xff\xff\xff",
        MP4,
        zipped(),
        bytes(64) + MP4,
        KINDS["gray"],
        b"\r\n",
    ],
    ids=["nothing", "zero", "zeros", "ff", "fill", "mp4", "zip", "zeros and mp4", "jpeg", "line"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_marker_is_harmless(kind: str, tail: bytes) -> None:
    assert_same_pixels(KINDS[kind].removesuffix(END) + tail, kind)


@pytest.mark.parametrize(
    "tail", [bytes(5000), MP4, KINDS["baseline"], KINDS["progressive"], b"\xff\xda" * 9000]
)
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_end_marker_are_harmless(kind: str, tail: bytes) -> None:
    assert_same_pixels(KINDS[kind] + tail, kind)


@pytest.mark.parametrize(
    "numbers", [[(1, 1), (1, 1)], [(2, 2), (1, 2)], [(1, 3), (3, 3)], [(0, 0)], [(1, 9)], [(1, 1), (2, 2)]]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_colour_profile_in_inconsistent_pieces_is_harmless(
    kind: str, numbers: list[tuple[int, int]]
) -> None:
    pieces = [segment(0xE2, b"ICC_PROFILE\0" + bytes(pair) + bytes(200)) for pair in numbers]

    assert_same_pixels(inserted(KINDS[kind], *pieces), kind)


@pytest.mark.parametrize(
    "stray", [b"\xff", b"\xff\xff\xff\xff", bytes(12), b"stray bytes \x00\x01\x02", b"\xff\0" * 9]
)
@pytest.mark.parametrize("kind", KINDS)
def test_stray_bytes_before_markers_are_harmless(kind: str, stray: bytes) -> None:
    assert_same_pixels(with_before_every_marker(KINDS[kind], stray), kind)


@pytest.mark.parametrize(
    "odd",
    [
        segment(0xE0, b"JFIF\0\x09\x09\0\0\1\0\1\0\0"),
        segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\x40\x40"),
        segment(0xE0, b"JFIF\0\1"),
        segment(0xE0, b"JFXX\0\x10" + bytes(50)),
        segment(0xEE, b"Adobe"),
        segment(0xED, b"Photoshop 3.0\0008BIM\4"),
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\1\3\0"),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE2, b"MPF\0" + bytes(30)),
        segment(0xE5, bytes(range(256))),
        segment(0xEF, b""),
        segment(0xFE, b"\xff\xd9\xff\xda"),
        b"\xff\xeb\0\0",
        b"\xff\x01",
        b"\xff\xd3",
    ],
)
@pytest.mark.parametrize("kind", ["baseline", "progressive", "gray", "cmyk"])
def test_odd_segments_beside_the_picture_are_harmless(kind: str, odd: bytes) -> None:
    assert_same_pixels(inserted(KINDS[kind], odd), kind)


@pytest.mark.parametrize("transform", [3, 9, 255])
@pytest.mark.parametrize(("kind", "usual"), [("baseline", 1), ("progressive", 1), ("cmyk", 2)])
def test_an_unknown_adobe_transform_is_read_as_the_usual_one(kind: str, usual: int, transform: int) -> None:
    plain = without(KINDS[kind], 0xEE if kind == "cmyk" else 0xE0)
    adobe = b"Adobe\0\x64\0\0\0\0"

    found = pixels(inserted(plain, segment(0xEE, adobe + bytes((transform,)))))

    np.testing.assert_array_equal(found, pixels(inserted(plain, segment(0xEE, adobe + bytes((usual,))))))


@pytest.mark.parametrize("interval", [b"\0\0", b"\xff\xff"])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "gray"])
def test_a_restart_interval_that_is_never_reached_is_harmless(kind: str, interval: bytes) -> None:
    assert_same_pixels(inserted(KINDS[kind], segment(0xDD, b"\0\1"), segment(0xDD, interval)), kind)


@pytest.mark.parametrize("kind", ["restarts", "progressive restarts"])
@pytest.mark.parametrize("padding", [b"\xff", b"\xff\xff\xff", bytes(12)])
def test_padding_before_restarts_is_harmless(kind: str, padding: bytes) -> None:
    assert_same_pixels(re.sub(rb"(?=\xff[\xd0-\xd7])", padding, KINDS[kind]), kind)


@pytest.mark.parametrize("first", range(1, 8))
@pytest.mark.parametrize("step", [0, 1])
def test_unusual_restart_numbers_are_harmless(first: int, step: int) -> None:
    numbers = iter(range(10_000))
    data = re.sub(
        rb"\xff[\xd0-\xd7]",
        lambda _: bytes((0xFF, 0xD0 + (first + step * next(numbers)) % 8)),
        KINDS["restarts"],
    )

    assert_same_pixels(data, "restarts")


def test_a_restart_after_the_last_interval_is_harmless() -> None:
    assert_same_pixels(KINDS["restarts"].removesuffix(END) + b"\xff\xd0" + END, "restarts")


def one_scan_each(*missing: int) -> bytes:
    """Return a baseline JPEG with a scan for each of its three components, as scanners write it, or without one."""
    planes = [save(plane, "JPEG") for plane in Image.fromarray(PICTURE).convert("YCbCr").split()]
    scans = []
    for number, plane in enumerate(planes, 1):
        body = plane.index(b"\xff\xda") + 10
        if number not in missing:
            scans.append(segment(0xDA, bytes((1, number, 0, 0, 63, 0))) + plane[body : -len(END)])
    frame = b"\x08" + b"\0\xa0\0\xd0" + b"\3" + b"".join(bytes((n, 0x11, 0)) for n in (1, 2, 3))
    gray = planes[0]
    start, scan = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    tables = gray[start + 2 + int.from_bytes(gray[start + 2 : start + 4]) : scan]
    return gray[:start] + segment(0xC0, frame) + tables + b"".join(scans) + END


def test_a_scan_for_each_component_makes_a_whole_picture() -> None:
    whole = pixels(one_scan_each())

    assert np.abs(whole.astype(int) - PICTURE).mean() < 12
    np.testing.assert_array_equal(pixels(one_scan_each().removesuffix(END)), whole)
    np.testing.assert_array_equal(pixels(one_scan_each().removesuffix(END) + MP4), whole)


def flat_with_unusual_sampling(missing: int = 0) -> bytes:
    """Return a gray JPEG, 96 x 96, with three blocks of Y for one of Cb and Cr, unknown to turbojpeg."""
    data = KINDS["baseline"]
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    sized = data[: frame + 5] + b"\0\x60\0\x60\3\1\x31" + data[frame + 12 : scan + 14]
    # Standard codes of Y, and of Cb and Cr: no difference, and the end of the block.
    bits = (3 * "001010" + 2 * "0000") * (48 - missing)
    bits += "1" * (-len(bits) % 8)
    return sized + int(bits, 2).to_bytes(len(bits) // 8) + END


@pytest.mark.parametrize("by", [1, 4])
@pytest.mark.parametrize("end", [END, b"", MP4])
def test_unusual_sampling_is_decoded(by: int, end: bytes) -> None:
    found = pixels(flat_with_unusual_sampling().removesuffix(END) + end, by)

    assert found.shape == (96 // by, 96 // by, 3)
    assert np.abs(found.astype(int) - 128).max() <= 1


# --- something is missing ---------------------------------------------------------


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_component_without_a_scan_is_missing(missing: int) -> None:
    data = one_scan_each(missing)

    assert_refused(data)
    assert_refused(data.removesuffix(END))


@pytest.mark.parametrize("missing", [1, 10, 40])
def test_a_picture_of_unusual_sampling_that_stops_early_is_refused(missing: int) -> None:
    assert_refused(flat_with_unusual_sampling(missing))
    assert_refused(flat_with_unusual_sampling(missing).removesuffix(END))


def cuts(data: bytes) -> list[int]:
    """Return positions to cut a JPEG: evenly over its scans, at every marker, and near its end."""
    scan = data.index(b"\xff\xda") + 14
    ends = [at for at in markers(data) if at > scan]
    return sorted({*range(scan, len(data) - 16, len(data) // 12), *ends[:-1], len(data) - 6, len(data) - 12})


TAILS = {
    "nothing": b"",
    "an end": END,
    "zeros": bytes(3000),
    "zeros and an end": bytes(3000) + END,
    "a film": MP4,
    "an archive": zipped(),
    "a JPEG": KINDS["baseline"],
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_stops_early_is_refused_whatever_follows(kind: str, tail: str) -> None:
    data = KINDS[kind]
    for at in cuts(data):
        with pytest.raises(ImageCorrupt):
            pixels(data[:at] + TAILS[tail])


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_whose_end_was_overwritten_with_zeros_is_refused(kind: str) -> None:
    data = KINDS[kind]
    for at in cuts(data):
        with pytest.raises(ImageCorrupt):
            pixels(data[:at] + bytes(len(data) - at))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_within_the_last_bytes_changes_at_most_one_block(kind: str) -> None:
    """Zeros instead of the last byte may be codes of the last block; anything else is refused."""
    data, whole = KINDS[kind], pixels(KINDS[kind])
    for tail in TAILS.values():
        for cut in range(1, 12):
            try:
                found = pixels(data[:-cut] + tail)
            except ImageCorrupt:
                continue
            assert np.abs(found.astype(int) - whole).mean() < 0.1


@pytest.mark.parametrize("number", [0, 1, 4, 11])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_missing_restart_intervals_are_refused(number: int, count: int) -> None:
    data = KINDS["restarts"]
    places = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]

    assert_refused(data[: places[number]] + data[places[number + count] :])
    assert_refused(data[: places[number]] + data[places[number + count] : -len(END)])


@pytest.mark.parametrize("kind", ["progressive", "progressive restarts", "gray progressive"])
def test_a_progressive_picture_needs_all_its_scans(kind: str) -> None:
    data = KINDS[kind]
    scans = [at for at in markers(data) if data[at + 1] == 0xDA]
    ends = [next(at for at in markers(data) if at > scan) for scan in scans]

    for scan, end in zip(scans, ends, strict=True):
        with pytest.raises(ImageCorrupt):
            pixels(data[:scan] + data[end:])


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_bad_codes_before_stray_bytes_at_the_end_are_found(kind: str) -> None:
    data = bytearray(KINDS[kind])
    # Sixteen ones are not a code; a stuffed zero follows each byte of them.
    at = data.index(b"\xff\xda") + 200
    data[at : at + 8] = b"\xff\0" * 4

    assert_refused(bytes(data))
    assert_refused(bytes(data).removesuffix(END) + b"stray bytes before the end" + END)
