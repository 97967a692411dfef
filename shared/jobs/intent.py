"""`intent.json`: what a client last asked of a job.

It is written before the job store is told, so that it holds even if the job store loses its data:
a canceled job stays canceled, and a paused one stays paused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState
from shared.objectstore.port import ObjectStore

#: The state that each verb leads to.
_LEADS_TO = {
    "start": JobState.QUEUED,
    "resume": JobState.QUEUED,
    "retry": JobState.QUEUED,
    "pause": JobState.PAUSED,
    "cancel": JobState.CANCELING,
}


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A verb, and what became known after the job was accepted: the number of its images, and their bytes."""

    verb: str
    total: int | None = None
    #: How often the job was retried. A retry takes back the end before it, and that end's `result.json`.
    retries: int = 0
    bytes: int | None = None

    def after(self, before: Intent | None) -> Intent:
        """Return this intent with what an earlier one knew, which still holds."""
        before = before or Intent(verb=self.verb)
        return replace(
            self,
            total=before.total if self.total is None else self.total,
            bytes=before.bytes if self.bytes is None else self.bytes,
            retries=before.retries + (self.verb == "retry"),
        )


def read_intent(objects: ObjectStore, job_id: str) -> Intent | None:
    """Return what was last asked of a job; None if nothing was asked since it was accepted."""
    try:
        record = json.loads(objects.get(object_keys.intent(job_id)))
    except ObjectNotFound:
        return None
    # Earlier versions counted neither bytes nor retries.
    return Intent(**{"retries": 0, "bytes": None} | record)


def write_intent(objects: ObjectStore, job_id: str, intent: Intent | None) -> None:
    """Write what was last asked of a job; None means that nothing was asked, and deletes the object."""
    if intent is None:
        objects.delete(object_keys.intent(job_id))
        return
    objects.put(
        object_keys.intent(job_id), json.dumps(asdict(intent)).encode(), content_type="application/json"
    )


def read_retries(objects: ObjectStore, job_id: str) -> int:
    """Return how often a job was retried."""
    intent = read_intent(objects, job_id)
    return intent.retries if intent else 0


def intended_state(accepted: Job, intent: Intent | None) -> JobState:
    """Return the state that an unfinished job should have, given the state it was accepted in."""
    return _LEADS_TO.get(intent.verb, accepted.state) if intent else accepted.state
