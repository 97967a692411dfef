"""Which uploads were accepted at a job's start, so that workers notice if one is replaced later.

An upload's URL stays good for an hour, and a client may use it again after the start. Not every S3
server refuses that. So the start stores a tag of sixteen bytes for each upload, and workers compare
what they read with it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from threading import Lock

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.objectstore.port import ObjectInfo, ObjectStore

#: Bytes of one tag.
_WIDTH = 16
#: Tags read at once, and how many such blocks are kept.
_BLOCK, _BLOCKS = 4096, 16

NOT_STORED = -1


class AcceptedUploads:
    """The sizes and tags of a job's uploads, by index; a million of them take little memory."""

    def __init__(self, total: int) -> None:
        """Take the number of images; none of them is stored yet."""
        #: The bytes of each upload, or NOT_STORED.
        self.sizes = array("q", [NOT_STORED]) * total
        self._tags = bytearray(_WIDTH * total)
        #: The bytes of label pictures.
        self.label_bytes = 0

    def add(self, index: int, info: ObjectInfo) -> None:
        self.sizes[index] = info.size
        self._tags[index * _WIDTH : (index + 1) * _WIDTH] = _digest(info.tag)

    @property
    def bytes(self) -> int:
        """The bytes of all stored uploads and their label pictures together."""
        return self.label_bytes + sum(size for size in self.sizes if size != NOT_STORED)

    @property
    def tags(self) -> memoryview:
        """The tags, one after another."""
        return memoryview(self._tags)


class AcceptedTags:
    """Tells whether inputs are the accepted ones; may be used by several threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = Lock()

    def are_kept(self, job_id: str, index: int) -> bool:
        """Return whether there is a tag; only uploads have one, since clients write them themselves."""
        return bool(self._find(job_id, index))

    def fits(self, job_id: str, index: int, tag: str) -> bool:
        """Return whether the accepted upload has this tag."""
        return self._find(job_id, index) == _digest(tag)

    def _find(self, job_id: str, index: int) -> bytes:
        number, offset = divmod(index, _BLOCK)
        return self._block(job_id, number)[offset * _WIDTH : (offset + 1) * _WIDTH]

    def _block(self, job_id: str, number: int) -> bytes:
        key = (job_id, number)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        block = self._read(job_id, number)
        with self._lock:
            self._blocks[key] = block
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def _read(self, job_id: str, number: int) -> bytes:
        size = _BLOCK * _WIDTH
        try:
            return self._objects.get(
                object_keys.input_tags(job_id), start=number * size, stop=(number + 1) * size
            )
        except ObjectNotFound:
            return b""


def _digest(tag: str) -> bytes:
    return hashlib.blake2b(tag.encode(), digest_size=_WIDTH).digest()
