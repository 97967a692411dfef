"""Make pictures for tests, and files of them in every format."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pillow_heif import register_heif_opener

from worker.pipeline.encode.banded_jpeg import BandedJpeg
from worker.pipeline.photo import Limits
from worker.pipeline.scene.stereo.view import STRIP_ROWS, View

register_heif_opener()

LIMITS = Limits(max_pixels=250_000_000, min_side=16, max_bytes=512 * 2**20)

#: The corners of `scene`: top left, top right, bottom left, bottom right.
RED, GREEN, BLUE, WHITE = (220, 20, 30), (30, 200, 40), (20, 40, 210), (250, 250, 250)

#: The name of each format in Pillow, and the options that keep colours.
WRITERS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "BMP": {},
    "GIF": {},
    "HEIF": {"quality": 95, "chroma": 444},
    "AVIF": {"quality": 95, "subsampling": "4:4:4", "speed": 9},
}

WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")

#: The names of the formats in Fathom.
NAMES = {name: name.lower() for name in WRITERS}


def scene(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Return a picture with four corners of known colours, which every rotation or reflection changes."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    picture[height // 2 :, width // 2 :] = WHITE
    return picture


def gray_jpeg(height: int, width: int) -> bytes:
    """Return a JPEG of one gray; making it needs little memory, even for a huge picture."""
    jpeg = BandedJpeg(height, width, 16)
    luma, chroma = np.full((16, width), 90, np.uint8), np.full((8, width // 2), 128, np.uint8)
    for _ in range(0, height, 16):
        jpeg.add(luma, chroma, chroma)
    return jpeg.finish()


def corners(picture: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Return the colours at the centres of the four quarters."""
    height, width = picture.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(int(v) for v in picture[y, x]) for y in rows for x in columns]


def texture(height: int = 96, width: int = 128, seed: int = 7) -> NDArray[np.uint8]:
    """Return a picture with detail in every block, so that every truncation is visible."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width]


def draw_whole(view: View) -> NDArray[np.uint8]:
    """Return a whole view of a photo, which is drawn in strips."""
    picture = np.empty((*view.shape, 3), np.uint8)
    for top in range(0, view.shape[0], STRIP_ROWS):
        view.draw(top, picture[top : top + STRIP_ROWS])
    return picture


def save(image: Image.Image | NDArray[Any], file_format: str, **options: Any) -> bytes:
    """Return a file in one of Pillow's formats."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture.save(file, file_format, **(WRITERS.get(file_format, {}) | options))
    return file.getvalue()


def save_turned(upright: NDArray[np.uint8], file_format: str, orientation: int) -> bytes:
    """Return a file with pixels as a camera stores them, and with their EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(
        lay(upright, orientation), file_format, exif=exif if file_format == "TIFF" else exif.tobytes()
    )


def lay(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the pixels as stored under an EXIF orientation, by the table in CIPA DC-008."""
    laid = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation](upright)
    return np.ascontiguousarray(laid)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2, body: bytes = b"") -> bytes:
    """Return a handmade PNG, possibly with wrong fields."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
