"""Depth inside a JPEG, read by ExifTool and by an own reader of the specifications."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.unit.worker.pipeline.outputs.readers import render
from tests.unit.worker.pipeline.pictures import lay, save, save_turned, scene, texture
from worker.pipeline.embedded.gdepth import with_depth

EXIFTOOL = shutil.which("exiftool")
GDEPTH = "{http://ns.google.com/photos/1.0/depthmap/}"
NOTE = "{http://ns.adobe.com/xmp/note/}HasExtendedXMP"
DC = "http://purl.org/dc/elements/1.1/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PROPERTIES = {"Format": "RangeInverse", "Near": "1", "Far": "6", "Mime": "image/png"}


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Return marker and content of each segment up to the scan, and the rest of the file as the last."""
    found, at = [], 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        found.append((jpeg[at + 1], jpeg[at + 4 : at + 2 + length]))
        at += 2 + length
    return [*found, (0xDA, jpeg[at:])]


def without_xmp(jpeg: bytes) -> list[tuple[int, bytes]]:
    return [each for each in segments(jpeg) if not each[1].startswith(b"http://ns.adobe.com/x")]


def extended(jpeg: bytes) -> bytes:
    """Put together the extended packet, and check all that Adobe's specification says of its pieces."""
    space = b"http://ns.adobe.com/xmp/extension/\0"
    pieces = [body[len(space) :] for _, body in segments(jpeg) if body.startswith(space)]
    whole, names = b"", set()
    for piece in pieces:
        name, length, at = struct.unpack_from(">32sII", piece)
        names.add((name, length))
        assert at == len(whole)
        whole += piece[40:]
    assert names == ({(hashlib.md5(whole).hexdigest().upper().encode(), len(whole))} if pieces else set())
    return whole


def properties(jpeg: bytes) -> dict[str, str]:
    """Return all simple properties of the XMP, and check that the standard packet names the extended one."""
    space = b"http://ns.adobe.com/xap/1.0/\0"
    (packet,) = (body[len(space) :] for _, body in segments(jpeg) if body.startswith(space))
    assert re.match(rb"<\?xpacket begin=.*\?>\s", packet)
    assert packet.endswith(b'<?xpacket end="w"?>')
    found = dict(attributes(packet))
    if more := extended(jpeg):
        assert found[NOTE] == hashlib.md5(more).hexdigest().upper()
        found |= attributes(more)
    return found


def attributes(packet: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for description in ElementTree.fromstring(packet).iter(f"{{{RDF}}}Description"):
        found |= description.attrib
        found |= {element.tag: "".join(element.itertext()).strip() for element in description}
    return found


def stored_map(jpeg: bytes) -> NDArray[np.uint8]:
    picture = Image.open(io.BytesIO(base64.b64decode(properties(jpeg)[GDEPTH + "Data"], validate=True)))
    assert (picture.format, picture.mode) == ("PNG", "L")
    return np.asarray(picture)


def xmp(inside: str = "", about: str = "") -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="{about}" '
        f'xmlns:dc="{DC}" xmlns:GDepth="{GDEPTH[1:-1]}" {inside}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def embedded(data: bytes, **given: Any) -> bytes:
    return render(data, outputs="embedded", **given)["embedded"].data


def wavy(height: int = 192, width: int = 256) -> NDArray[np.float32]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.asarray(np.sin(x / 9) + np.cos(y / 7) + x / 100, np.float32)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_photo_stays_byte_for_byte(mode: str, progressive: bool):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    photo = Image.fromarray(texture(300, 400)).convert(mode)
    data = save(
        photo, "JPEG", exif=exif, icc_profile=b"a profile" * 20, comment=b"hello", progressive=progressive
    )
    result = embedded(data + b"\0\0\0\x18ftypmp42 a motion photo")

    assert without_xmp(result) == without_xmp(data + b"\0\0\0\x18ftypmp42 a motion photo")
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(result))), np.asarray(Image.open(io.BytesIO(data)))
    )


def test_the_map_is_dark_where_it_is_near_and_linear_in_inverse_distance():
    result = embedded(save(scene(240, 320), "JPEG"))
    found, stored = properties(result), stored_map(result).astype(int)

    assert {name: found[GDEPTH + name] for name in PROPERTIES} == PROPERTIES
    assert stored.shape == (240, 320)
    assert (stored.min(), stored.max()) == (0, 255)
    # White is near for the engine of these tests, blue is far.
    assert stored[180, 240] < 40 < 200 < stored[180, 80]


def test_the_map_is_one_minus_nearness():
    files = render(save(texture(300, 400), "JPEG"), outputs="embedded,npy")
    depth = np.load(io.BytesIO(files["npy"].data)).astype(np.float64)
    exact = 255 * (1 - (depth - depth.min()) / (depth.max() - depth.min()))

    assert np.abs(stored_map(files["embedded"].data) - exact).max() < 0.51


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_map_lies_as_the_photo_is_stored(orientation: int):
    result = embedded(save_turned(scene(240, 320), "JPEG", orientation))
    upright = stored_map(embedded(save(scene(240, 320), "JPEG")))

    assert Image.open(io.BytesIO(result)).getexif()[0x0112] == orientation
    # JPEG's blocks lie differently in a turned photo.
    assert (
        np.abs(stored_map(result).astype(int) - lay(upright[..., np.newaxis], orientation)[..., 0]).mean() < 3
    )


@pytest.mark.parametrize("file_format", ["PNG", "HEIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_another_format_becomes_an_upright_jpeg_at_full_size(file_format: str, orientation: int):
    photo = scene(600, 800)
    result = embedded(save_turned(photo, file_format, orientation))
    shown = Image.open(io.BytesIO(result))

    assert (shown.format, shown.size, 0x0112 in shown.getexif()) == ("JPEG", (800, 600), False)
    assert np.abs(np.asarray(shown).astype(int) - photo).mean() < 4
    assert stored_map(result).shape == (600, 800)


@pytest.mark.parametrize(
    ("size", "shape"), [((900, 1200), (768, 1024)), ((40, 1200), (34, 1024)), ((64, 48), (64, 48))]
)
def test_the_map_has_at_most_1024_pixels_a_side(size: tuple[int, int], shape: tuple[int, int]):
    assert stored_map(embedded(save(texture(*size), "JPEG"))).shape == shape


def test_a_large_map_is_divided_among_segments():
    noise = np.random.default_rng(1).integers(0, 256, 200_000, np.uint8).tobytes()
    result = with_depth(save(texture(), "JPEG"), PROPERTIES, noise)
    found = properties(result)

    assert len(extended(result)) > 3 * 65_400
    assert base64.b64decode(found[GDEPTH + "Data"]) == noise
    assert found[GDEPTH + "Format"] == "RangeInverse"


@pytest.mark.parametrize("size", [10, 200_000])
def test_other_properties_stay_and_an_older_map_goes(size: int):
    data = save(
        texture(),
        "JPEG",
        xmp=xmp('dc:format="image/jpeg" GDepth:Units="mm" GDepth:Data="b2xk"', "urn:a&amp;b"),
    )
    found = properties(with_depth(data, PROPERTIES, bytes(size)))

    assert found[f"{{{DC}}}format"] == "image/jpeg"
    assert found[f"{{{RDF}}}about"] == "urn:a&b"
    assert GDEPTH + "Units" not in found
    assert base64.b64decode(found[GDEPTH + "Data"]) == bytes(size)


def test_a_second_map_replaces_the_first():
    data = save(texture(), "JPEG", xmp=xmp('dc:format="image/jpeg"'))
    twice = with_depth(
        with_depth(data, PROPERTIES, bytes(200_000)), PROPERTIES | {"Far": "9"}, bytes(150_000)
    )

    assert len(base64.b64decode(properties(twice)[GDEPTH + "Data"])) == 150_000
    assert properties(twice)[GDEPTH + "Far"] == "9"
    assert properties(twice)[f"{{{DC}}}format"] == "image/jpeg"


def test_properties_that_fill_the_packet_move_to_the_extended_one():
    data = save(texture(), "JPEG", xmp=xmp(f'dc:description="{"d" * 65_000}"'))
    found = properties(with_depth(data, PROPERTIES, b"map"))

    assert found[f"{{{DC}}}description"] == "d" * 65_000
    assert found[GDEPTH + "Data"] == base64.b64encode(b"map").decode()


@pytest.mark.parametrize(
    "bad", [b"<x", b"\xff\xfe<\0x\0", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<a/>", b""]
)
def test_a_packet_that_cannot_be_read_is_replaced(bad: bytes):
    result = with_depth(save(texture(), "JPEG", xmp=bad), PROPERTIES, b"map")

    assert properties(result)[GDEPTH + "Data"] == "bWFw"


def test_a_constant_map_is_halfway():
    data = save(texture(96, 128), "JPEG")

    assert (
        stored_map(render(data, np.ones((192, 256), np.float32), outputs="embedded")["embedded"].data) == 128
    ).all()


@pytest.mark.skipif(EXIFTOOL is None and not os.environ.get("CI"), reason="needs exiftool")
@pytest.mark.parametrize(("depth", "is_divided"), [(np.ones((256, 192), np.float32), False), (wavy(), True)])
def test_exiftool_reads_it(tmp_path: Path, depth: NDArray[np.float32], is_divided: bool):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = save(texture(768, 1024), "JPEG", exif=exif, xmp=xmp('dc:format="image/jpeg"'))
    result = render(data, np.resize(depth, (192, 256)), outputs="embedded")["embedded"].data
    path = tmp_path / "a.jpg"
    path.write_bytes(result)
    told = subprocess.run(
        [EXIFTOOL or "exiftool", "-j", "-b", "-G1", "-XMP:all", "-EXIF:Make", "-warning", path],
        capture_output=True,
        check=True,
    )
    (found,) = json.loads(told.stdout)

    assert bool(extended(result)) == is_divided
    assert {name: str(found[f"XMP-GDepth:{name}"]) for name in PROPERTIES} == PROPERTIES
    assert found["XMP-GDepth:DepthImage"] == "base64:" + properties(result)[GDEPTH + "Data"]
    assert (found["IFD0:Make"], found["XMP-dc:Format"]) == ("Maker", "image/jpeg")
    assert not [name for name in found if "Warning" in name]
