"""Make albums for the benchmarks: photos of the sizes that cameras take, from the samples.

    python -m bench.album OUT --photos 6

The sample photos are cropped, enlarged to the size of each class and saved at quality 93, so nobody
has to share private photos. Sensor noise makes the JPEGs about as large, and as slow to decode, as those of a
camera. The same seed gives the same pixels.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from fathom.photos.discovery import find_photos

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

#: The sizes of each class as (height, width), with the aspect ratios of phones and cameras.
CLASSES = {
    "12mp": ((3000, 4000), (4000, 3000), (2828, 4242)),
    "3mp": ((1536, 2048), (1440, 2160), (2048, 1536)),
    "vga": ((480, 640), (640, 480), (427, 640)),
}

#: Photos for a memory test, with mixed sizes, formats and shapes, up to 50 MP.
MIXED = (
    ((480, 640), "JPEG"),
    ((3000, 4000), "JPEG"),
    ((1536, 2048), "PNG"),
    ((6120, 8160), "JPEG"),
    ((1080, 1920), "WEBP"),
    ((4000, 3000), "PNG"),
    ((2048, 1536), "TIFF"),
    ((600, 6000), "JPEG"),
    ((4000, 6000), "JPEG"),
    ((640, 480), "GIF"),
    ((6120, 8160), "PNG"),
    ((5000, 1000), "BMP"),
    ((2828, 4242), "JPEG"),
    ((4284, 5712), "WEBP"),
    ((1200, 1200), "HEIF"),
    ((3000, 4000), "TIFF"),
)

#: Standard deviation of the noise, in levels of 255, like that of a phone in good light.
_NOISE = 5.0
_QUALITY = 93


@dataclass(frozen=True, kw_only=True)
class AlbumPhoto:
    """One file of an album."""

    name: str
    size_class: str
    data: bytes


def make_album(
    photos: int, *, classes: Sequence[str] = tuple(CLASSES), seed: int = 0
) -> Iterator[AlbumPhoto]:
    """Yield `photos` JPEGs of each class, which cycle through the samples and the sizes."""
    samples = _samples()
    for size_class in classes:
        sizes = CLASSES[size_class]
        for number in range(photos):
            random = np.random.default_rng((seed, number))
            height, width = sizes[number % len(sizes)]
            rgb = make_photo(samples[number % len(samples)], height, width, random)
            name = f"{size_class}/{number:03}.jpg"
            yield AlbumPhoto(name=name, size_class=size_class, data=encode(rgb, "JPEG"))


def make_mixed(*, seed: int = 0) -> Iterator[AlbumPhoto]:
    """Yield one photo for each line of `MIXED`, one at a time because all together are large."""
    samples = _samples()
    for number, ((height, width), file_format) in enumerate(MIXED):
        rgb = make_photo(samples[number % len(samples)], height, width, np.random.default_rng((seed, number)))
        name = f"{number:02}-{width}x{height}.{file_format.lower()}"
        yield AlbumPhoto(name=name, size_class="mixed", data=encode(rgb, file_format))


def make_photo(
    sample: NDArray[np.uint8], height: int, width: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a random crop of a sample, enlarged to height x width x 3, with noise."""
    enlarged = cv2.resize(
        _crop(sample, height / width, random), (width, height), interpolation=cv2.INTER_CUBIC
    )
    # Because of the colour mosaic, the noise of neighbouring pixels of a sensor is correlated.
    noise = cv2.GaussianBlur(
        random.standard_normal((height, width), dtype=np.float32) * (2 * _NOISE), (0, 0), 0.6
    )
    photo = enlarged.astype(np.int16)
    photo += noise.astype(np.int16)[..., np.newaxis]
    return np.clip(photo, 0, 255).astype(np.uint8)


def encode(rgb: NDArray[np.uint8], file_format: str) -> bytes:
    register_heif_opener()
    file = io.BytesIO()
    # A low compression level is enough for PNG, because only decoding is measured.
    options = {"quality": _QUALITY} if file_format in ("JPEG", "WEBP", "HEIF") else {}
    options |= {"compress_level": 1} if file_format == "PNG" else {}
    # At a higher quality, noise overflows the first partition of a WebP.
    options |= {"method": 0, "quality": 80} if file_format == "WEBP" else {}
    Image.fromarray(rgb).save(file, file_format, **options)
    return file.getvalue()


def _samples() -> list[NDArray[np.uint8]]:
    return [_load(path) for path, _ in find_photos([SAMPLES]).photos]


def _load(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _crop(sample: NDArray[np.uint8], aspect: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """Crop a random part of the aspect ratio height / width, 0.8 to 1 of the largest that fits."""
    full_height, full_width = sample.shape[:2]
    scale = random.uniform(0.8, 1.0)
    height = max(1, int(scale * min(full_height, full_width * aspect)))
    width = max(1, int(scale * min(full_width, full_height / aspect)))
    top, left = random.integers(full_height - height + 1), random.integers(full_width - width + 1)
    return sample[top : top + height, left : left + width]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.album", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--photos", type=int, default=6, help="photos of each class (6)")
    parser.add_argument("--mixed", action="store_true", help="make the mixed formats instead, up to 50 MP")
    args = parser.parse_args(argv)
    for picture in make_mixed() if args.mixed else make_album(args.photos):
        path = args.out / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.data)
        print(f"{path}  {len(picture.data) / 1e6:.2f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
