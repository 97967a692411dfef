"""Bytes on their way from a client to the object store: a few stay in memory, more go to disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

#: Bytes of one spool kept in memory.
IN_MEMORY = 2**20


class Spool:
    """A file that is received piece by piece and read once.

    Bytes beyond `cap` are counted but not kept, which bounds the space of a file. `size` is the number
    of bytes that arrived, `kept` the number that can be read. With `hashed`, all bytes that arrived
    are hashed, kept or not.
    """

    def __init__(self, *, cap: int, hashed: bool = False) -> None:
        self._cap = cap
        self._hash = hashlib.sha256() if hashed else None
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 (closed by close)
        self.size = 0
        self.kept = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._hash is not None:
            self._hash.update(data)
        keep = data[: self._cap - self.kept]
        self._file.write(keep)
        self.kept += len(keep)

    def fill(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def sha256(self) -> bytes:
        """Return the hash of all bytes that arrived. The spool must have been made with `hashed`."""
        assert self._hash is not None
        return self._hash.digest()

    def rewound(self) -> BinaryIO:
        """Return the file, positioned at its start."""
        self._file.seek(0)
        return cast(BinaryIO, self._file)

    def close(self) -> None:
        self._file.close()
