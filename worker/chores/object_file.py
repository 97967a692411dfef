"""An object as a seekable file, read in bounded memory and without a copy."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from shared.objectstore.port import ObjectStore

#: Bytes requested at a time.
_BLOCK = 4 * 2**20


def open_object(objects: ObjectStore, key: str) -> BinaryIO:
    """Open an object for reading, with one block of it in memory.

    Raises ObjectNotFound, and at each read what the object store raises.
    """
    return cast(BinaryIO, io.BufferedReader(_ObjectFile(objects, key), _BLOCK))


class _ObjectFile(io.RawIOBase):
    def __init__(self, objects: ObjectStore, key: str) -> None:
        self._objects = objects
        self._key = key
        self._size = objects.size(key)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("A position cannot be negative.")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any buffer
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        data = self._objects.get(self._key, start=self._at, stop=stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
