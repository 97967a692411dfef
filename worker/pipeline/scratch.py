"""Large buffers that outlive one photo.

Writing a fresh 48 MB array costs a page fault for every 4 KB: for a photo of 12 megapixels that takes as long
as the upsampling itself. So each pipeline keeps its buffers. The next `take` of a name overwrites what the
last one returned, so a pipeline serves one thread, and its results must not point into a buffer.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Larger buffers (a plane of more than 25 megapixels) are not kept: one huge photo must not occupy memory
#: for the rest of an album.
MAX_KEPT_BYTES = 24 * 2**20


class Scratch:
    """Named buffers that grow to the largest array requested."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return a contiguous array with arbitrary content, valid until `name` is taken again."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if size > MAX_KEPT_BYTES:
            return np.empty(shape, dtype)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)
