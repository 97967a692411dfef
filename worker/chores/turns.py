"""Turns: a chore that takes long makes way for others, and goes on later where it stopped.

How far it came is noted in the object store, now and then and at the end of a turn. So each turn makes
progress, however long the way to its first step is, and neither a death nor a loss of Redis takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.objectstore.port import ObjectStore

#: Seconds that a turn lasts, and between two notes of how far it came.
TURN, NOTE = 20.0, 5.0


class TurnOver(Exception):
    """Others wait for their turn; what is left is done at the next."""


class Turn:
    """The time of one turn. It begins with the first step: what comes before would be done at each turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._noted_at = 0.0

    def passed(self, note: Callable[[], object]) -> None:
        """Say that a step is done; `note` is called if it is time to note how far it came.

        Raises TurnOver at the end of the turn, when that is noted.
        """
        now = self._clock()
        if self._began is None:
            self._began = self._noted_at = now
        is_over = now - self._began > TURN
        if is_over or now - self._noted_at >= NOTE:
            note()
            self._noted_at = now
        if is_over:
            raise TurnOver


def read_cursor(objects: ObjectStore, job_id: str) -> dict[str, Any] | None:
    """Return how far the gathering of a job's images came; None if that was not noted yet."""
    try:
        cursor: dict[str, Any] = json.loads(objects.get(object_keys.gathering_cursor(job_id)))
    except ObjectNotFound:
        return None
    return cursor


def write_cursor(objects: ObjectStore, job_id: str, cursor: dict[str, Any]) -> None:
    """Note how far it came: all that lies before is stored."""
    data = json.dumps(cursor, ensure_ascii=False).encode()
    objects.put(object_keys.gathering_cursor(job_id), data, content_type="application/json")
