"""Messages to webhooks and what became of them. Workers write this, and the API shows it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.chores.port import Chore, ChoreKind, ChoreState
from shared.jobs.job import Job, WebhookEvent

#: So many of the last tries of a message are kept.
REMEMBERED = 20


class DeliveryState(StrEnum):
    #: It is still to be tried, perhaps again.
    PENDING = "pending"
    DELIVERED = "delivered"
    #: It was given up after the last try, or the receiver asked for no more.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message to a webhook."""

    #: The header `webhook-id`, which is the same at every try.
    id: str
    event: WebhookEvent
    #: As JSON.
    body: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Message:
        row = json.loads(text)
        return cls(id=row["id"], event=WebhookEvent(row["event"]), body=row["body"])


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try to deliver a message; `at` is in seconds since the epoch."""

    at: float
    #: The response's status; None if there was no response.
    status: int | None = None
    #: Why there was no valid response: `unreachable` or `refused`.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message, and how its delivery has gone so far."""

    id: str
    event: WebhookEvent
    state: DeliveryState
    tries: tuple[Try, ...] = ()
    #: The number of all tries, including those no longer kept.
    attempts: int = 0
    #: When the next try is due, in seconds since the epoch.
    next_at: float | None = None

    def tried(self, attempt: Try, state: DeliveryState) -> Delivery:
        """Return the delivery after another try."""
        return replace(
            self, state=state, tries=(*self.tries, attempt)[-REMEMBERED:], attempts=self.attempts + 1
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Delivery:
        row = json.loads(text)
        return cls(
            id=row["id"],
            event=WebhookEvent(row["event"]),
            state=DeliveryState(row["state"]),
            tries=tuple(Try(**attempt) for attempt in row["tries"]),
            attempts=row["attempts"],
            next_at=row["next_at"],
        )


def new_delivery(message: Message) -> Delivery:
    return Delivery(id=message.id, event=message.event, state=DeliveryState.PENDING)


def delivery_of(chore: Chore) -> Delivery | None:
    """Return the delivery of a chore's message; None if the chore has sent no message."""
    if chore.note.startswith("{"):
        found = Delivery.from_json(chore.note)
    elif chore.kind is ChoreKind.DELIVER:
        found = new_delivery(Message.from_json(chore.payload))
    else:
        return None
    if chore.state is ChoreState.FAILED:
        return replace(found, state=DeliveryState.FAILED)
    waits = chore.kind is ChoreKind.DELIVER and chore.state is ChoreState.OPEN
    return replace(found, next_at=chore.due_at if waits else None)


def ended_message(job: Job) -> Message:
    """Return the message that a job has ended; the same end always gives the same message."""
    ended_at = job.ended_at or job.created_at
    body = _body(job, WebhookEvent.ENDED, ended_at)
    return Message(id=f"msg_{job.id}_{round(ended_at * 1000)}", event=WebhookEvent.ENDED, body=body)


def progress_message(job: Job, number: int, now: float) -> Message:
    """Return a message about a job's progress."""
    body = _body(job, WebhookEvent.PROGRESS, now)
    return Message(id=f"msg_{job.id}_progress_{number}", event=WebhookEvent.PROGRESS, body=body)


def _body(job: Job, event: WebhookEvent, moment: float) -> str:
    counts = job.counts
    data: dict[str, Any] = {
        "id": job.id,
        "title": job.title,
        "state": job.state,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "ended_at": rfc3339(job.ended_at),
        "counts": {
            "total": counts.total,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "pending": counts.pending,
        },
        "error": asdict(job.error) if job.error else None,
    }
    body = {"type": event, "timestamp": rfc3339(moment), "data": data}
    return json.dumps(body, ensure_ascii=False)


def rfc3339(seconds: float | None) -> str | None:
    """Return a time as RFC 3339 text, in UTC and to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
