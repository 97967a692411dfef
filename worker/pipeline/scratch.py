"""Large buffers that outlive one photo.

A fresh 48 MB array costs a page fault for every 4 KB when it is first written: for a
photo of 12 megapixels as long as the upsampling itself. So each pipeline keeps its
buffers. What `take` returns is overwritten by the next `take` of the same name: one
pipeline serves one thread, and nothing it hands out may point into a buffer.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Larger buffers (a plane of more than 25 megapixels) are not kept: a single huge photo
#: must not hold its memory for the rest of an album.
MAX_KEPT_BYTES = 24 * 2**20


class Scratch:
    """Named buffers that grow to the largest array asked for."""

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
