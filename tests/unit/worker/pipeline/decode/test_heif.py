"""HEIF and AVIF: damaged EXIF, XMP and profiles are harmless."""

from __future__ import annotations

from functools import cache

import pytest
from PIL import Image, ImageCms

from shared.errors import ImageCorrupt
from tests.unit.worker.pipeline.pictures import LIMITS, save, save_turned, scene, texture
from worker.pipeline.decode.decode import decode

TEXT = b"A long description, so that there is something to damage. "
XMP = b"<x:xmpmeta>" + b"nothing " * 20 + b"</x:xmpmeta>"


@cache
def described(file_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = TEXT.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return save(texture(48, 64), file_format, exif=exif.tobytes(), xmp=XMP, icc_profile=profile)


def patched(data: bytes, at: int, patch: bytes) -> bytes:
    assert 0 < at <= len(data) - len(patch)
    return data[:at] + patch + data[at + len(patch) :]


#: The position of the damage in a file, and its bytes.
DAMAGE = {
    "EXIF of ones": (lambda data: data.rindex(b"Exif\0\0") - 4, b"\xff" * 80),
    "EXIF of zeros": (lambda data: data.rindex(b"Exif\0\0") - 4, bytes(80)),
    "EXIF whose beginning is nowhere": (lambda data: data.rindex(b"Exif\0\0") - 4, b"\x7f\xff\xff\xff"),
    "EXIF that is no TIFF": (lambda data: data.rindex(b"Exif\0\0") + 6, b"nonsense"),
    "EXIF whose directory is nowhere": (lambda data: data.rindex(b"Exif\0\0") + 10, b"\xff\xff\xff\xff"),
    "XMP of ones": (lambda data: data.index(XMP), b"\xff" * len(XMP)),
    "profile of ones": (lambda data: data.index(b"colrprof") + 8, b"\xff" * 500),
    "profile of zeros": (lambda data: data.index(b"colrprof") + 8, bytes(500)),
    "profile without a signature": (lambda data: data.index(b"acsp"), b"nope"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
def test_damaged_metadata_of_a_heif_is_harmless(
    file_format: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    find, patch = DAMAGE[name]
    sound = described(file_format)
    photo = decode(patched(sound, find(sound), patch), LIMITS)

    assert photo.orientation == 1
    assert (photo.rgb == decode(sound, LIMITS).rgb).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [b"Exif", b"mime"])
def test_metadata_of_an_avif_may_lie_beyond_the_end_of_the_file(kind: bytes) -> None:
    sound = described("AVIF")
    # In the table of locations, the number of an item precedes its only extent.
    number = int.from_bytes(sound[sound.index(b"infe", sound.index(kind) - 20) + 8 :][:2])
    entry = sound.index(number.to_bytes(2) + bytes(2) + b"\0\1", sound.index(b"iloc"))
    spoiled = patched(sound, entry + 6, b"\x7f\xff\xff\xff")

    assert (decode(spoiled, LIMITS).rgb == decode(sound, LIMITS).rgb).all()


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_rotation_of_the_container_still_counts(orientation: int) -> None:
    photo = decode(save_turned(scene(), "AVIF", orientation), LIMITS)

    assert photo.orientation == orientation
    assert photo.rgb.shape == (96, 128, 3)


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_truncated_file_is_damaged(file_format: str, share: float) -> None:
    data = described(file_format)

    with pytest.raises(ImageCorrupt):
        decode(data[: int(share * len(data))], LIMITS)
