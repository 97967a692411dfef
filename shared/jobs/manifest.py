"""The manifest: one line of JSON for each image, written once, before the job runs.

Beside it, `manifest.index` says where each line begins, so that a few lines can be found among a million.
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

#: While a manifest or an index is being written, so many bytes are kept in memory; more go to disk.
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

    JSON escapes a line break inside a name, so splitting at `\\n`, and at no other Unicode
    line break, is exact.
    """
    return tuple(map(_decode_source, filter(None, data.split(b"\n"))))


def _decode_source(line: bytes) -> Source:
    row = json.loads(line)
    return Source(
        index=row["index"], name=row["name"], size=row["size"], url=row.get("url"), s3=row.get("s3")
    )


def read_sources(objects: ObjectStore, job_id: str, start: int, stop: int) -> tuple[Source, ...]:
    """Return the lines [start, stop) of a manifest, or fewer if it is shorter.

    A manifest without an index, which earlier versions wrote, is read as a whole. Raises
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
    """Writes a manifest and its index, on disk beyond a megabyte. Use it in a `with` block."""

    def __init__(self) -> None:
        # `__exit__` closes both files.
        self._lines = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._index = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._index.write(bytes(_OFFSET))
        self._length = 0
        #: The number of images so far, which is the next one's index.
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
        """Store the index before the manifest, so that a manifest that exists is complete."""
        files = {object_keys.manifest_index(job_id): self._index, object_keys.manifest(job_id): self._lines}
        for key, file in files.items():
            file.seek(0)
            objects.put_stream(key, cast(BinaryIO, file))
