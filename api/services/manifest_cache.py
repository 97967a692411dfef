"""The names of a job's images, read from its manifest and cached."""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock

from shared.jobs import object_keys
from shared.objectstore.port import ObjectStore

#: Lines of a manifest compressed together: the names of a million images then take about 10 MB.
_BLOCK = 1000


class Names:
    """The names of a job's images by index, compressed. Reading them in order is fast."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        """Take the lines of a manifest, in order."""
        self._blocks: list[bytes] = []
        self._count = 0
        while block := list(islice(lines, _BLOCK)):
            self._blocks.append(zlib.compress(b",".join(block), 1))
            self._count += len(block)
        #: The block read last; the next name is most likely in it.
        self._read_last: tuple[int, list[str]] = (-1, [])

    @property
    def size(self) -> int:
        """The bytes of memory that the names take."""
        return sum(map(len, self._blocks))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < self._count:
            raise IndexError(index)
        block, place = divmod(index, _BLOCK)
        return self._read(block)[place]

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._blocks)):
            yield from self._read(block)

    def _read(self, block: int) -> list[str]:
        # Read the attribute once, because another thread may replace it meanwhile.
        last, names = self._read_last
        if last != block:
            rows = json.loads(b"[" + zlib.decompress(self._blocks[block]) + b"]")
            names = [row["name"] for row in rows]
            self._read_last = (block, names)
        return names


class ManifestCache:
    """A cache of names by job, which drops the least recently used job first.

    It cannot be stale, because a manifest is written once and never changes.
    `max_bytes` bounds the compressed names of all jobs together.
    """

    def __init__(self, objects: ObjectStore, *, max_bytes: int = 32 * 2**20) -> None:
        self._objects = objects
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Names] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def names(self, job_id: str) -> Names:
        """Return the names of a job's images, by index.

        Raises ObjectNotFound if the job has no manifest.
        """
        with self._lock:
            if job_id in self._kept:
                self._kept.move_to_end(job_id)
                return self._kept[job_id]
        names = Names(_lines(self._objects.stream(object_keys.manifest(job_id))))
        self._keep(job_id, names)
        return names

    def _keep(self, job_id: str, names: Names) -> None:
        with self._lock:
            if job_id in self._kept:
                return
            self._kept[job_id] = names
            self._bytes += names.size
            while self._bytes > self._max_bytes:
                _, forgotten = self._kept.popitem(last=False)
                self._bytes -= forgotten.size


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, wherever the pieces are cut."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
