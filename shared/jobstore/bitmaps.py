"""Find the states of images in the bitmaps of a job's outcomes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.jobs.job import ImageState

_SET_BYTE = re.compile(rb"[^\0]", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ImageBits:
    """The bitmaps of a job's images from index `first` (a multiple of 8) up to `stop`.

    Bytes beyond the end of a bitmap are zeros; the first image of a byte is its highest bit.
    """

    first: int
    stop: int
    #: Whether the job has ended, so that an image without an outcome will never have one.
    job_ended: bool
    succeeded: bytes
    failed: bytes
    #: Images that are in a lease.
    held: frozenset[int]

    def state_of(self, index: int) -> ImageState:
        byte, mask = (index - self.first) // 8, 128 >> index % 8
        if self.succeeded[byte : byte + 1] and self.succeeded[byte] & mask:
            return ImageState.SUCCEEDED
        if self.failed[byte : byte + 1] and self.failed[byte] & mask:
            return ImageState.FAILED
        if self.job_ended:
            return ImageState.CANCELED
        return ImageState.PROCESSING if index in self.held else ImageState.PENDING

    def indices(self, state: ImageState) -> Iterator[int]:
        """Yield the images in a state, in order, without looking at every other image."""
        bits = self._bits(state).to_bytes(self._length, "big")
        for match in _SET_BYTE.finditer(bits):
            start, byte = self.first + 8 * match.start(), match[0][0]
            yield from (start + bit for bit in range(8) if byte & 128 >> bit)

    @property
    def _length(self) -> int:
        return max(self.stop - self.first + 7, 0) // 8

    def _bits(self, state: ImageState) -> int:
        """Return the images in a state as one number, whose highest bit is the first image."""
        succeeded, failed = self._number(self.succeeded), self._number(self.failed)
        if state is ImageState.SUCCEEDED:
            return succeeded
        if state is ImageState.FAILED:
            return failed
        spare = 8 * self._length - max(self.stop - self.first, 0)
        rest = ((1 << 8 * self._length) - 1) >> spare << spare & ~succeeded & ~failed
        if self.job_ended:
            return rest if state is ImageState.CANCELED else 0
        held = self._held_number() & rest
        return {ImageState.PROCESSING: held, ImageState.PENDING: rest & ~held}.get(state, 0)

    def _number(self, bitmap: bytes) -> int:
        return int.from_bytes(bitmap[: self._length].ljust(self._length, b"\0"), "big")

    def _held_number(self) -> int:
        bitmap = bytearray(self._length)
        for index in self.held:
            if self.first <= index < self.stop:
                bitmap[(index - self.first) // 8] |= 128 >> index % 8
        return int.from_bytes(bitmap, "big")
