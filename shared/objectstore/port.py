"""The port of the object store: what Fathom needs of S3, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """An object in a listing; `size` is in bytes."""

    key: str
    size: int
    #: Seconds since the epoch, by the object store's clock.
    modified_at: float
    #: An opaque tag that changes with the content.
    tag: str = ""


class Transfer(StrEnum):
    READ = "read"
    WRITE = "write"


#: Called after each successful transfer, with the object's key and the seconds it took.
TransferObserver = Callable[[Transfer, str, float], None]


class ObjectStore(Protocol):
    """Objects under keys in one bucket.

    Every method may raise ObjectStoreUnavailable (transient) and
    ObjectStoreDenied; reading a missing key raises ObjectNotFound.
    """

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = ...) -> None:
        """Write an object, over any that has the same key."""

    def put_stream(self, key: str, stream: BinaryIO, *, content_type: str = ...) -> None:
        """Write an object from a seekable stream, in constant memory."""

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        """Read an object, or its bytes [start, stop), up to its end.

        Raises ValueError for a negative bound.
        """

    def get_tagged(self, key: str, *, stop: int | None = None) -> tuple[bytes, str]:
        """Read an object, or its first bytes, and return the tag that a listing gives what was read."""

    def stream(
        self, key: str, *, start: int | None = None, stop: int | None = None, chunk_size: int = ...
    ) -> Iterator[bytes]:
        """Read an object, or its bytes [start, stop), in pieces.

        `start` must lie before its end, and `stop` behind `start`. A missing key raises here, not at the
        first piece.
        """

    def size(self, key: str) -> int:
        """Return an object's size in bytes."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key starts with `prefix`; with `after`, only those after that key.

        They come sorted by key, but a server over a file system may sort `a/` before `a!`.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly below `prefix`, each once, without listing them.

        Objects directly below it are left out. A folder may have become empty since.
        """

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose key starts with `prefix`; return how many.

        Raises ValueError for an empty prefix, which would delete the whole bucket.
        """

    def in_bucket(self, bucket: str) -> ObjectStore:
        """Return another bucket of the same server; reading raises BucketNotFound if there is none."""

    def observed_by(self, observe: TransferObserver) -> ObjectStore:
        """Return the same bucket; it calls `observe` after each successful `get`, `get_tagged` and `put`.

        Transfers of other buckets are not observed, even if they are reached through this one.
        """

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        """Return a URL for a client to read an object; None if no public address is set.

        With `file_name`, which may be in any script, a browser saves the object under that name.
        """

    def presigned_put(self, key: str, *, size: int | None = None) -> str | None:
        """Return a URL for a client to write an object; with `size`, one of exactly so many bytes.

        Returns None if no public address is set.
        """

    def ensure_bucket(self) -> None:
        """Create the bucket if it is missing."""

    def ping(self) -> None:
        """Raise if the bucket cannot be reached."""
