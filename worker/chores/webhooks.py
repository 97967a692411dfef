"""Call webhooks: one chore waits for a job's news, and another delivers each message.

Every end of a job becomes one message, whose id says which end it is. Delivery is retried for more than a
day. Messages of progress are sent now and then and never retried, since the next one says more.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.chores.port import Chore, ChoreKind, Chores
from shared.errors import AddressRefused, JobNotFound
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, WebhookEvent
from shared.jobstore.port import JobStore
from shared.net.webhook_signing import owner_secret, sign
from shared.objectstore.port import ObjectStore
from shared.webhook_messages import (
    Delivery,
    DeliveryState,
    Message,
    Try,
    delivery_of,
    ended_message,
    new_delivery,
    progress_message,
)
from worker.chores.runner import UNRECORDED, Check, Done, Later
from worker.outbound_http import Outbound, OutboundFailed

logger = logging.getLogger(__name__)

#: Seconds between the attempts to deliver one message: 27 hours in all.
RETRIES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
#: Seconds between two messages of progress, and between two looks at a job that is about to end.
PROGRESS, ENDING = 10.0, 0.5
#: Seconds that a receiver has to answer.
ANSWER = 15.0

_GONE = 410
_ENDING = (JobState.FINALIZING, JobState.CANCELING)


@dataclass(frozen=True, kw_only=True)
class WebhookSender:
    """Signs messages and sends them to the webhooks of their jobs."""

    outbound: Outbound
    secrets: Sequence[str]
    clock: Callable[[], float] = time.time

    def send(self, job: Job, message: Message) -> Try:
        """Try once, and return how that went."""
        if job.webhook is None:
            raise ValueError("The job has no webhook.")
        now, body = self.clock(), message.body.encode()
        try:
            status = self.outbound.post(job.webhook.url, body, self._headers(job, message.id, now, body))
        except AddressRefused:
            return Try(at=now, error="refused")
        except OutboundFailed:
            return Try(at=now, error="unreachable")
        return Try(at=now, status=status)

    def _headers(self, job: Job, message_id: str, now: float, body: bytes) -> Mapping[str, str]:
        secrets = [owner_secret(secret, job.owner) for secret in self.secrets]
        return {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": sign(secrets, message_id, int(now), body),
        }


class NotifyWebhook:
    """Handles chores of the kind `notify`: one for each job with a webhook, as long as the job exists."""

    def __init__(self, jobs: JobStore, objects: ObjectStore, chores: Chores, sender: WebhookSender) -> None:
        self._jobs = jobs
        self._objects = objects
        self._chores = chores
        self._sender = sender

    def do(self, chore: Chore, check: Check) -> Done | Later:
        try:
            job = self._jobs.get(chore.job_id)
        except JobNotFound:
            # The job was deleted, or is not recorded yet.
            is_there = self._objects.exists(object_keys.job_record(chore.job_id))
            return Later(seconds=UNRECORDED, note=chore.note) if is_there else Done(note=chore.note)
        if job.webhook is None or _is_gone(self._chores, job.id):
            return Later(note=chore.note)
        if job.state in _ENDING:
            return Later(seconds=ENDING, note=chore.note)
        if job.state.ended:
            return self._tell_end(job, chore)
        return self._tell_progress(job, job.webhook.events, chore)

    def give_up(self, chore: Chore) -> None:
        """Do nothing: no client sees this chore."""

    def _tell_end(self, job: Job, chore: Chore) -> Later:
        if job.webhook and WebhookEvent.ENDED in job.webhook.events and job.state is not JobState.EXPIRED:
            message = ended_message(job)
            self._chores.add(message.id, ChoreKind.DELIVER, job.id, payload=message.to_json())
        return Later(note=chore.note)

    def _tell_progress(self, job: Job, events: Sequence[WebhookEvent], chore: Chore) -> Later:
        if WebhookEvent.PROGRESS not in events:
            return Later(note=chore.note)
        if job.state is not JobState.PROCESSING:
            return Later(seconds=PROGRESS, note=chore.note)
        message = progress_message(job, chore.attempts, self._sender.clock())
        attempt = self._sender.send(job, message)
        state = DeliveryState.DELIVERED if _is_success(attempt) else DeliveryState.FAILED
        before = replace(delivery_of(chore) or new_delivery(message), id=message.id)
        return Later(seconds=PROGRESS, note=before.tried(attempt, state).to_json())


class DeliverMessage:
    """Handles chores of the kind `deliver`."""

    def __init__(self, jobs: JobStore, objects: ObjectStore, chores: Chores, sender: WebhookSender) -> None:
        self._jobs = jobs
        self._objects = objects
        self._chores = chores
        self._sender = sender

    def do(self, chore: Chore, check: Check) -> Done | Later:
        message = Message.from_json(chore.payload)
        before = delivery_of(chore) or new_delivery(message)
        try:
            job = self._jobs.get(chore.job_id)
        except JobNotFound:
            return Done(note=before.to_json(), failed=True)
        if job.webhook is None or _is_gone(self._chores, job.id):
            return self._end(job, replace(before, state=DeliveryState.FAILED))
        attempt = self._sender.send(job, message)
        if _is_success(attempt):
            return self._end(job, before.tried(attempt, DeliveryState.DELIVERED))
        if attempt.status == _GONE or before.attempts >= len(RETRIES):
            return self._end(job, before.tried(attempt, DeliveryState.FAILED))
        seconds = RETRIES[before.attempts] * random.uniform(0.9, 1.1)
        after = before.tried(attempt, DeliveryState.PENDING)
        return Later(seconds=seconds, note=after.to_json())

    def give_up(self, chore: Chore) -> None:
        if (delivery := delivery_of(chore)) is not None:
            self._end(self._jobs.get(chore.job_id), replace(delivery, state=DeliveryState.FAILED))

    def _end(self, job: Job, delivery: Delivery) -> Done:
        """Store how a delivery ended, so that it does not start again after a loss of Redis."""
        data = delivery.to_json()
        key = object_keys.delivery(job.id, delivery.id)
        self._objects.put(key, data.encode(), content_type="application/json")
        logger.info("A webhook delivery ended: %s.", delivery.state, extra={"action": "deliver_webhook"})
        return Done(note=data, failed=delivery.state is DeliveryState.FAILED)


def _is_gone(chores: Chores, job_id: str) -> bool:
    """Return whether a job's webhook has answered 410: it wants no more messages."""
    deliveries = filter(None, map(delivery_of, chores.list(job_id)))
    return any(attempt.status == _GONE for delivery in deliveries for attempt in delivery.tries)


def _is_success(attempt: Try) -> bool:
    return attempt.status is not None and 200 <= attempt.status < 300
