"""GIF: comments, application extensions and stray bytes are harmless, and transparency is kept."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageCorrupt
from tests.unit.worker.pipeline.pictures import LIMITS, save, texture
from worker.pipeline.decode.decode import decode

JUNK = b"\xff" * 600


def blocks(body: bytes) -> bytes:
    """Return a body as sub-blocks with their sizes, and the empty one at their end."""
    pieces = (body[at : at + 255] for at in range(0, len(body), 255))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


BESIDE = {
    "comment": b"!\xfe" + blocks(JUNK),
    "comment of nothing": b"!\xfe\0",
    "comment of megabytes": b"!\xfe" + blocks(JUNK * 5000),
    "loop": b"!\xff\x0bNETSCAPE2.0" + blocks(b"\1\0\0"),
    "loop cut short": b"!\xff\x0bNETSCAPE2.0" + blocks(b"\1"),
    "loop of nothing": b"!\xff\x0bNETSCAPE2.0\0",
    "program with a short name": b"!\xff\x03abc" + blocks(JUNK),
    "program of nothing": b"!\xff\0",
    "XMP": b"!\xff\x0bXMP DataXMP" + b"<x/>" * 90 + b"\1" + bytes(range(255, -1, -1)) + b"\0",
    "XMP of nonsense": b"!\xff\x0bXMP DataXMP" + blocks(JUNK),
    "profile of nonsense": b"!\xff\x0bICCRGBG1012" + blocks(JUNK),
    "text": b"!\1\x0c" + bytes(12) + blocks(b"text"),
    "text cut short": b"!\1\3abc" + blocks(b"text"),
    "control cut short": b"!\xf9\2\0\0\0",
    "control of nothing": b"!\xf9\0",
    "control too long": b"!\xf9\6\1\0\0\0\0\0\0",
    "extension nobody knows": b"!\x77" + blocks(JUNK),
    "extension of nothing": b"!\x77\0",
    "zeros": bytes(500),
    "stray bytes": b"\x55\x66",
}


def picture(**options: object) -> tuple[bytes, bytes]:
    """Return a GIF up to its first block, and the rest."""
    data = save(Image.fromarray(texture(48, 64)).quantize(16), "GIF", **options)
    begin = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:begin], data[begin:]


@pytest.mark.parametrize("where", ["ahead", "behind"])
@pytest.mark.parametrize("name", BESIDE)
def test_damage_beside_the_picture_is_harmless(
    name: str, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    head, rest = picture()
    data = head + BESIDE[name] + rest if where == "ahead" else head + rest[:-1] + BESIDE[name] + b";"

    assert (decode(data, LIMITS).rgb == decode(head + rest, LIMITS).rgb).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", BESIDE)
def test_transparency_is_kept_whatever_other_blocks_there_are(name: str) -> None:
    head, rest = picture(transparency=0)
    spoiled = decode(head + BESIDE[name] + rest[:8] + BESIDE[name] + rest[8:], LIMITS).rgb

    assert rest.startswith(b"!\xf9\4\1")
    assert (spoiled == decode(head + rest, LIMITS).rgb).all()
    assert (spoiled == 255).all(axis=2).any()
    assert (spoiled != decode(head + rest[8:], LIMITS).rgb).any()


@pytest.mark.parametrize("name", ["comment", "loop", "zeros"])
def test_a_file_of_metadata_only_is_damaged(name: str) -> None:
    head, _ = picture()

    for tail in (b"", b";", b"!\xfe\xffabc"):
        with pytest.raises(ImageCorrupt):
            decode(head + BESIDE[name] + tail, LIMITS)


def test_the_first_frame_of_an_animation_is_used_with_its_own_colours() -> None:
    frames = [Image.fromarray(texture(48, 64, seed)).quantize(16) for seed in (7, 8)]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"text")

    assert np.abs(decode(data, LIMITS).rgb.astype(int) - np.asarray(frames[0].convert("RGB"))).max() == 0
