"""Albums as people have them, with good photos, odd photos, and files that only look like photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
_ORIENTATION = 0x0112


def photo() -> Image.Image:
    """A real photograph, 320 wide and 240 high, with a clear top and bottom."""
    return (
        Image.open(ROOT / "samples" / "people" / "astronaut.jpg").crop((60, 0, 460, 300)).resize((320, 240))
    )


def jpeg(image: Image.Image, *, orientation: int | None = None, quality: int = 95) -> bytes:
    data, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[_ORIENTATION] = orientation
    image.save(data, "JPEG", quality=quality, subsampling=0, exif=exif)
    return data.getvalue()


def png16(image: Image.Image) -> bytes:
    """The picture as a grayscale PNG of 16 bits."""
    gray = np.asarray(image.convert("L"), dtype=np.uint16) * 257
    data = io.BytesIO()
    Image.fromarray(gray).save(data, "PNG")
    return data.getvalue()


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


#: The path of the heatmap of each good photo in the nasty album, and its size as (width, height).
REAL = {
    "IMG_1.png": (320, 240),
    "cmyk.png": (320, 240),
    "upright.png": (320, 240),
    # Stored sideways as 240 x 320, and shown upright.
    "phone.png": (320, 240),
    "sixteen.png": (200, 150),
    "same.png": (320, 240),
    # From `same.png` beside `same.jpg`: the second one keeps its full name.
    "same.png.png": (320, 240),
    "trip/day 1/IMG_1.png": (100, 80),
    "trip/day 2/IMG_1.png": (80, 100),
    "假期/猫.png": (320, 240),
    "🏔️/mañana.png": (320, 240),
}
#: The bad files with the codes of their failures.
BAD = {
    "notes.jpg": "unsupported_format",
    "cut.jpg": "image_corrupt",
    "empty.jpg": "image_empty",
    "IMG_2.CR3": "unsupported_format",
    "trip/IMG_3.NEF": "unsupported_format",
}
SKIPPED = "Skipped 3 files that are no photos: 1 video, 1 sidecar, 1 other file."


def nasty_album(folder: Path) -> Path:
    """Write an album with everything that can be wrong with albums; return its folder."""
    image = photo()
    plain = jpeg(image)
    files = {
        "IMG_1.JPG": plain,
        "trip/day 1/IMG_1.jpeg": jpeg(image.resize((100, 80))),
        "trip/day 2/IMG_1.jpeg": jpeg(image.resize((80, 100))),
        "假期/猫.jpg": plain,
        "🏔️/mañana.jpg": plain,
        "same.jpg": plain,
        "same.png": png(image),
        "sixteen.png": png16(image.resize((200, 150))),
        "cmyk.jpg": jpeg(image.convert("CMYK")),
        "upright.jpg": jpeg(image, quality=100),
        "phone.jpg": jpeg(image.transpose(Image.Transpose.ROTATE_90), orientation=6, quality=100),
        "notes.jpg": b"Dear diary, this is no picture.",
        "cut.jpg": plain[: len(plain) // 2],
        "empty.jpg": b"",
        # The beginnings of raw files: one in its own container, one in TIFF.
        "IMG_2.CR3": b"\0\0\0\x18ftypcrx " + bytes(100),
        "trip/IMG_3.NEF": b"MM\0*\0\0\0\x08" + bytes(100),
        "IMG_1.MOV": b"\0\0\0\x14ftypqt  " + bytes(100),
        "IMG_1.AAE": b"<?xml version='1.0'?>",
        "readme.txt": b"Not a photo, and not named like one.",
        ".hidden.jpg": b"",
        "@eaDir/IMG_1.JPG/SYNOPHOTO_THUMB_M.jpg": plain,
        "Thumbs.db": b"",
    }
    return write_album(folder, files)


def plain_album(folder: Path, count: int, *, size: tuple[int, int] = (96, 64)) -> Path:
    """Write `count` photos of one size, which all differ."""
    image = photo().resize(size)
    files = {}
    for number in range(count):
        marked = image.copy()
        marked.paste((number % 256, number // 256, 99), (0, 0, 16, 16))
        files[f"{number:04}.jpg"] = jpeg(marked, quality=80)
    return write_album(folder, files)


def write_album(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tree(folder: Path) -> set[str]:
    """Return the relative paths of all files in a folder, except hidden ones such as the index."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix() for path in files}
