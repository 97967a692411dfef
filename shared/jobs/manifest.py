"""The manifest: one JSON line an image, written once, before the job runs.

Beside it lies `manifest.index`, which says where each line begins, so that a few lines are found among
a million.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Self, cast

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.jobs.job import Source
from shared.objectstore.port import ObjectStore

#: Bytes of a manifest or an index in the making kept in memory; more goes to disk.
_IN_MEMORY = 2**20
#: Bytes of one offset in the index.
_OFFSET = 8


def encode_manifest(sources: Iterable[Source]) -> bytes:
    """Return the manifest as UTF-8; line n is image n."""
    return b"".join(map(encode_source, sources))


def encode_source(source: Source) -> bytes:
    """Return one line of a manifest."""
    row: dict[str, Any] = {"index": source.index, "name": source.name, "size": source.size}
    row |= {"url": source.url} if source.url is not None else {}
    row |= {"s3": source.s3} if source.s3 is not None else {}
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def decode_manifest(data: bytes) -> tuple[Source, ...]:
    """Read what `encode_manifest` wrote.

    A name may hold any character but a line break inside JSON is escaped, so
    splitting at `\\n` alone (not at every Unicode line break) is exact.
    """
    return tuple(map(_decode_source, filter(None, data.split(b"\n"))))


def _decode_source(line: bytes) -> Source:
    row = json.loads(line)
    return Source(
        index=row["index"], name=row["name"], size=row["size"], url=row.get("url"), s3=row.get("s3")
    )


def read_sources(objects: ObjectStore, job_id: str, start: int, stop: int) -> tuple[Source, ...]:
    """Read the lines [start, stop) of a manifest, as far as there are so many.

    A manifest without an index, as earlier versions wrote it, is read as a whole. Raises
    ObjectNotFound if there is no manifest.
    """
    key = object_keys.manifest_index(job_id)
    try:
        offsets = _offsets(objects.get(key, start=start * _OFFSET, stop=(stop + 1) * _OFFSET))
    except ObjectNotFound:
        return decode_manifest(objects.get(object_keys.manifest(job_id)))[start:stop]
    if len(offsets) < 2:
        return ()
    return decode_manifest(objects.get(object_keys.manifest(job_id), start=offsets[0], stop=offsets[-1]))


def _offsets(data: bytes) -> list[int]:
    whole = range(0, len(data) - _OFFSET + 1, _OFFSET)
    return [int.from_bytes(data[at : at + _OFFSET], "little") for at in whole]


class ManifestWriter:
    """A manifest and its index in the making, on disk beyond a megabyte. Use it in a `with` block."""

    def __init__(self) -> None:
        # Closed on leaving the `with` block that this object is used in.
        self._lines = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._index = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._index.write(bytes(_OFFSET))
        self._length = 0
        #: Images so far; the next one's index.
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._index.close()

    def add(self, source: Source) -> None:
        """Write the next line; its index must be `count`."""
        if source.index != self.count:
            raise ValueError(f"Line {self.count} of a manifest is not image {source.index}.")
        line = encode_source(source)
        self._lines.write(line)
        self._length += len(line)
        self._index.write(self._length.to_bytes(_OFFSET, "little"))
        self.count += 1

    def store(self, objects: ObjectStore, job_id: str) -> None:
        """Put the index, then the manifest: where there is a manifest, it is complete."""
        files = {object_keys.manifest_index(job_id): self._index, object_keys.manifest(job_id): self._lines}
        for key, file in files.items():
            file.seek(0)
            objects.put_stream(key, cast(BinaryIO, file))
