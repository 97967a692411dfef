"""Make small photos that all differ, and submit them as jobs."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import httpx
import numpy as np
from PIL import Image

#: Height and width of a photo, in pixels.
SIZE = (48, 64)


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """An accepted job, with the SHA-256 of each photo."""

    id: str
    photos: tuple[str, ...]

    @property
    def total(self) -> int:
        return len(self.photos)


def make_photo(number: int) -> bytes:
    """Return a JPEG that is different for every number."""
    pixels = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(SIZE[::-1], Image.Resampling.BILINEAR).save(file, "JPEG", quality=80)
    return file.getvalue()


def submit(api: httpx.Client, photos: list[bytes]) -> Submitted:
    """Send photos as one job, in one request. Raises httpx.HTTPError."""
    files = [("images", (f"{number:06}.jpg", photo)) for number, photo in enumerate(photos)]
    answer = api.post("/v1/jobs", files=files, timeout=300.0).raise_for_status()
    return Submitted(
        id=answer.json()["id"], photos=tuple(hashlib.sha256(photo).hexdigest() for photo in photos)
    )
