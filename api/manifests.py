"""Names of a job's images, read from its manifest and kept while they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from shared import layout
from shared.manifest import decode_manifest
from shared.ports import ObjectStore

Names = tuple[str, ...]


class Manifests:
    """Names by job, the least recently used forgotten first.

    A manifest is written once and never changes, so what is kept cannot be stale.
    `max_names` bounds how many names are kept over all jobs (about 150 bytes each).
    """

    def __init__(self, objects: ObjectStore, *, max_names: int = 200_000) -> None:
        self._objects = objects
        self._max_names = max_names
        self._kept: OrderedDict[str, Names] = OrderedDict()
        self._count = 0
        self._lock = Lock()

    def names(self, job_id: str) -> Names:
        """Return the names of a job's images, by index.

        Raises ObjectNotFound if the job has no manifest.
        """
        with self._lock:
            if job_id in self._kept:
                self._kept.move_to_end(job_id)
                return self._kept[job_id]
        data = self._objects.get(layout.manifest(job_id))
        names = tuple(source.name for source in decode_manifest(data))
        self._keep(job_id, names)
        return names

    def _keep(self, job_id: str, names: Names) -> None:
        with self._lock:
            if job_id in self._kept:
                return
            self._kept[job_id] = names
            self._count += len(names)
            while self._count > self._max_names:
                _, forgotten = self._kept.popitem(last=False)
                self._count -= len(forgotten)
