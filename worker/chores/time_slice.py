"""Time slices: a chore that takes long lets others run, and continues later where it stopped.

A cursor in the object store records the progress, every few seconds and at the end of a slice. So each
slice makes progress, however long its first step takes, and neither a crash nor a loss of Redis undoes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.objectstore.port import ObjectStore

#: Seconds that a time slice lasts, and between two checkpoints.
TIME_SLICE, CHECKPOINT = 20.0, 5.0


class TimeSliceOver(Exception):
    """Other chores wait; the rest is done in the next time slice."""


class TimeSlice:
    """One time slice. It begins with the first step, because each slice repeats what comes before."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._saved_at = 0.0

    def step_done(self, save: Callable[[], object]) -> None:
        """Note that a step is done; call `save` if a checkpoint is due.

        Raises TimeSliceOver at the end of the time slice, after a last checkpoint.
        """
        now = self._clock()
        if self._began is None:
            self._began = self._saved_at = now
        is_over = now - self._began > TIME_SLICE
        if is_over or now - self._saved_at >= CHECKPOINT:
            save()
            self._saved_at = now
        if is_over:
            raise TimeSliceOver


def read_cursor(objects: ObjectStore, job_id: str) -> dict[str, Any] | None:
    """Return the cursor of a job's gathering; None before the first checkpoint."""
    try:
        cursor: dict[str, Any] = json.loads(objects.get(object_keys.gathering_cursor(job_id)))
    except ObjectNotFound:
        return None
    return cursor


def write_cursor(objects: ObjectStore, job_id: str, cursor: dict[str, Any]) -> None:
    """Store a cursor. Everything before it must be stored already."""
    data = json.dumps(cursor, ensure_ascii=False).encode()
    objects.put(object_keys.gathering_cursor(job_id), data, content_type="application/json")
