"""A decoded photo, and the limits a photo must keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fathom.photos.formats import Format
from shared.errors import ImageCorrupt, ImageTooLarge, ImageTooSmall
from shared.settings import Settings

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

#: Takes a photo's upright height and width; returns the smallest height and width that suffice.
LeastSize: TypeAlias = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """An upright photo: its orientation has been applied."""

    #: uint8, H x W x 3, RGB; smaller than `height` x `width` where fewer pixels suffice, and empty once
    #: nothing needs them.
    rgb: Pixels
    #: The size of the whole photo, upright.
    height: int
    width: int
    format: Format
    #: The EXIF orientation that was applied, 1 to 8; 1 changes nothing.
    orientation: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits that are checked before any pixel is decoded."""

    max_pixels: int
    #: The least length of the shorter side.
    min_side: int
    max_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        return cls(
            max_pixels=settings.max_pixels, min_side=settings.min_side, max_bytes=settings.max_image_bytes
        )

    def check_bytes(self, count: int) -> None:
        """Raise ImageTooLarge for a file of more bytes than allowed."""
        if count > self.max_bytes:
            raise ImageTooLarge(f"The file has more than {self.max_bytes:,} bytes, the most accepted.")

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageTooLarge or ImageTooSmall for this size, and ImageCorrupt for an empty one."""
        if height < 1 or width < 1:
            raise ImageCorrupt("The file is damaged: it says that the picture has no pixels.")
        if height * width > self.max_pixels:
            raise ImageTooLarge(
                f"The picture has {width} x {height} pixels; at most {self.max_pixels:,} in all are accepted."
            )
        if min(height, width) < self.min_side:
            raise ImageTooSmall(
                f"The picture has {width} x {height} pixels; each side needs at least {self.min_side}."
            )


def full_size(height: int, width: int) -> tuple[int, int]:
    """Require every pixel."""
    return height, width
