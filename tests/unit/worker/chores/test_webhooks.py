from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
import standardwebhooks

from shared.chores.enqueue import add_chores
from shared.chores.port import ChoreKind, ChoreState, notify_id
from shared.errors import AddressRefused
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, Webhook, WebhookEvent
from shared.jobs.record import JobResult, encode_result
from shared.net.url_policy import AllowedHosts
from shared.net.webhook_signing import owner_secret
from shared.webhook_messages import Delivery, DeliveryState, delivery_of
from tests.contracts.job_store import CORRUPT
from tests.finalizing import claim, finalize_claimed
from tests.unit.worker.chores.conftest import ChoreHarness
from worker.chores.runner import ChoreHandler, ChoreRunner
from worker.chores.webhooks import PROGRESS, RETRIES, DeliverMessage, NotifyWebhook, WebhookSender
from worker.outbound_http import Outbound, OutboundFailed

SECRETS = ("whsec_" + "A" * 32, "whsec_" + "B" * 32)
URL = "https://example.org/hook"
ALL = (WebhookEvent.ENDED, WebhookEvent.PROGRESS)


@dataclass(frozen=True)
class Sent:
    url: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.body)
        return body


@dataclass(frozen=True, kw_only=True)
class Receiver(Outbound):
    """A receiver that responds with the given statuses and then 200; an error means no response."""

    allowed: AllowedHosts = field(default_factory=AllowedHosts)
    answers: list[int | Exception] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.sent.append(Sent(url, body, headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def submit(
    harness: ChoreHarness, *, events: tuple[WebhookEvent, ...] = (WebhookEvent.ENDED,), **changes: Any
) -> Job:
    webhook = Webhook(url=URL, events=events)
    fields: dict[str, Any] = {"total": 2, "state": JobState.QUEUED, "gathered": False, "webhook": webhook}
    return harness.accept(**fields | changes)


def work(harness: ChoreHarness, *, images: int = 10) -> None:
    lease = harness.jobs.lease("worker", limit=images)
    assert lease is not None
    for index in lease.indices:
        harness.jobs.done(lease, index)


def end(harness: ChoreHarness) -> None:
    finalize_claimed(claim(harness.jobs), harness.jobs, harness.objects, chores=harness.chores)


def run(harness: ChoreHarness, receiver: Receiver) -> int:
    sender = WebhookSender(outbound=receiver, secrets=SECRETS, clock=harness.clock)
    handlers: dict[ChoreKind, ChoreHandler] = {
        ChoreKind.NOTIFY: NotifyWebhook(harness.jobs, harness.objects, harness.chores, sender),
        ChoreKind.DELIVER: DeliverMessage(harness.jobs, harness.objects, harness.chores, sender),
    }
    return ChoreRunner(harness.chores, handlers, draining=lambda: False).run_due()


def deliveries(harness: ChoreHarness, job: Job) -> list[Delivery]:
    return [found for chore in harness.chores.list(job.id) if (found := delivery_of(chore))]


def test_the_end_of_a_job_is_delivered_once(harness: ChoreHarness, receiver: Receiver) -> None:
    job = submit(harness, title="Walk «写真»")
    run(harness, receiver)
    work(harness)
    run(harness, receiver)
    assert receiver.sent == []

    end(harness)
    run(harness, receiver)
    harness.clock.advance(10 * 24 * 3600)
    run(harness, receiver)

    (sent,) = receiver.sent
    assert sent.url == URL
    assert sent.json["type"] == "job.ended"
    data = sent.json["data"]
    assert isinstance(data, dict)
    assert (data["id"], data["state"], data["title"]) == (job.id, "succeeded", "Walk «写真»")
    assert data["counts"] == {"total": 2, "succeeded": 2, "failed": 0, "pending": 0}
    assert datetime.fromisoformat(str(data["ended_at"])).timestamp() == pytest.approx(
        harness.job(job).ended_at
    )
    (delivery,) = deliveries(harness, job)
    assert (delivery.state, delivery.attempts, delivery.next_at) == (DeliveryState.DELIVERED, 1, None)
    assert delivery.id == sent.headers["webhook-id"]


def test_a_message_has_a_verifiable_signature_for_every_secret(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    harness.clock.now = datetime.now().timestamp()
    submit(harness, owner="alice")
    work(harness)
    end(harness)
    run(harness, receiver)

    (sent,) = receiver.sent
    assert sent.headers["webhook-signature"].count("v1,") == 2
    for secret in SECRETS:
        mine = standardwebhooks.Webhook(owner_secret(secret, "alice"))
        assert mine.verify(sent.body, dict(sent.headers))["type"] == "job.ended"
        theirs = standardwebhooks.Webhook(owner_secret(secret, "bob"))
        with pytest.raises(Exception, match="No matching signature"):
            theirs.verify(sent.body, dict(sent.headers))
        with pytest.raises(Exception, match="No matching signature"):
            mine.verify(sent.body + b" ", dict(sent.headers))


def test_a_message_is_tried_for_more_than_a_day_with_the_same_id_and_body(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.extend([500, 302, OutboundFailed("x"), 404, 429, 503, 400, 500])
    began, tries = harness.clock.now, []
    while harness.clock.now - began < 48 * 3600:
        before = len(receiver.sent)
        run(harness, receiver)
        tries += [harness.clock.now - began] * (len(receiver.sent) - before)
        harness.clock.advance(1 if harness.clock.now - began < 10 else 600)

    assert len(receiver.sent) == len(RETRIES) + 1 == 8
    assert tries[0] == 0
    assert 4 <= tries[1] <= 7
    assert 24 * 3600 < tries[-1] < 36 * 3600
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1
    assert len({sent.body for sent in receiver.sent}) == 1
    timestamps = [int(sent.headers["webhook-timestamp"]) for sent in receiver.sent]
    assert timestamps == [int(began + at) for at in tries]
    (delivery,) = deliveries(harness, job)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 8)
    assert [(t.status, t.error) for t in delivery.tries][:3] == [
        (500, None),
        (302, None),
        (None, "unreachable"),
    ]


def test_a_message_that_arrives_at_last_is_delivered(harness: ChoreHarness, receiver: Receiver) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.append(500)
    run(harness, receiver)
    (waiting,) = deliveries(harness, job)
    assert waiting.state is DeliveryState.PENDING
    assert waiting.next_at is not None
    assert 4 < waiting.next_at - harness.clock.now < 6

    harness.clock.advance(6)
    run(harness, receiver)
    assert [delivery.state for delivery in deliveries(harness, job)] == [DeliveryState.DELIVERED]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_status_is_a_success(harness: ChoreHarness, receiver: Receiver, status: int) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.append(status)
    run(harness, receiver)

    assert deliveries(harness, job)[0].state is DeliveryState.DELIVERED


def test_a_receiver_that_answers_410_gets_no_more_messages(harness: ChoreHarness, receiver: Receiver) -> None:
    job = submit(harness, events=ALL)
    harness.jobs.lease("worker", limit=1)
    receiver.answers.append(410)
    run(harness, receiver)
    harness.clock.advance(100)
    harness.jobs.reap()
    work(harness)
    work(harness)
    end(harness)
    for _ in range(5):
        run(harness, receiver)
        harness.clock.advance(3600)

    assert [sent.json["type"] for sent in receiver.sent] == ["job.progress"]
    assert [delivery.state for delivery in deliveries(harness, job)] == [DeliveryState.FAILED]


def test_a_refused_address_is_retried_like_one_that_does_not_answer(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    """A name may resolve to a forbidden address temporarily; the error does not show it."""
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.append(AddressRefused())
    run(harness, receiver)

    (delivery,) = deliveries(harness, job)
    assert (delivery.state, delivery.tries[0].error) == (DeliveryState.PENDING, "refused")


def test_every_end_of_a_job_has_its_own_message(harness: ChoreHarness, receiver: Receiver) -> None:
    job = submit(harness, total=1)
    for _ in range(2):
        lease = harness.jobs.lease("worker", limit=1)
        assert lease is not None
        harness.jobs.done(lease, 0, failure=CORRUPT)
        end(harness)
        run(harness, receiver)
        harness.clock.advance(5)
        harness.jobs.retry(job.id)
    run(harness, receiver)

    assert [sent.json["type"] for sent in receiver.sent] == ["job.ended", "job.ended"]
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 2


def test_the_message_of_a_job_that_failed_as_a_whole_has_its_reason(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness, total=0, state=JobState.UPLOADING, gathered=True)
    harness.jobs.abort(job.id, CORRUPT)
    end(harness)
    run(harness, receiver)

    data = receiver.sent[0].json["data"]
    assert isinstance(data, dict)
    assert (data["state"], data["error"]["code"]) == ("failed", CORRUPT.code)


def test_a_worker_that_dies_before_the_end_is_set_loses_no_message(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    """The chore of the webhook is woken before the end is set, and waits for the end."""
    job = submit(harness)
    work(harness)
    harness.chores.wake(notify_id(job.id))
    run(harness, receiver)
    assert receiver.sent == []

    harness.clock.advance(1)
    end_without_telling(harness)
    run(harness, receiver)
    assert len(receiver.sent) == 1


def end_without_telling(harness: ChoreHarness) -> None:
    finalize_claimed(claim(harness.jobs), harness.jobs, harness.objects)


def test_progress_is_delivered_at_intervals_while_images_end(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness, events=ALL, total=3)
    run(harness, receiver)
    assert receiver.sent == [], "It waits for workers."
    for done in range(3):
        harness.clock.advance(PROGRESS)
        lease = harness.jobs.lease("worker", limit=1)
        assert lease is not None
        run(harness, receiver)
        harness.jobs.done(lease, done)
    end(harness)
    run(harness, receiver)

    bodies = [sent.json for sent in receiver.sent]
    assert [body["type"] for body in bodies] == ["job.progress"] * 3 + ["job.ended"]
    counts = [body["data"]["counts"]["succeeded"] for body in bodies]
    assert counts == [0, 1, 2, 3]
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 4
    progress, ended = deliveries(harness, job)
    assert (progress.event, progress.attempts, progress.state) == (
        WebhookEvent.PROGRESS,
        3,
        DeliveryState.DELIVERED,
    )
    assert ended.event is WebhookEvent.ENDED


def test_undelivered_progress_is_not_retried(harness: ChoreHarness, receiver: Receiver) -> None:
    submit(harness, events=(WebhookEvent.PROGRESS,), total=3)
    harness.jobs.lease("worker", limit=1)
    receiver.answers.extend([500, 500])
    run(harness, receiver)
    harness.clock.advance(PROGRESS)
    run(harness, receiver)

    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 2


def test_a_webhook_gets_the_end_only_if_it_asked_for_it(harness: ChoreHarness, receiver: Receiver) -> None:
    submit(harness, events=(WebhookEvent.PROGRESS,))
    work(harness)
    end(harness)
    run(harness, receiver)

    assert receiver.sent == []


def test_a_deleted_job_sends_no_more_messages(harness: ChoreHarness, receiver: Receiver) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.append(500)
    run(harness, receiver)
    harness.jobs.delete(job.id)
    harness.objects.delete(object_keys.job_record(job.id))
    harness.clock.advance(60)
    run(harness, receiver)

    assert len(receiver.sent) == 1
    assert harness.chores.list(job.id)[-1].state is ChoreState.FAILED


# --- after a loss of Redis ----------------------------------------------------------


def lose_chores(harness: ChoreHarness, job: Job) -> None:
    harness.chores.forget(job.id)
    add_chores(harness.job(job), harness.objects, chores=harness.chores)


def test_a_delivered_end_is_not_delivered_again_after_a_loss_of_redis(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    harness.clock.advance(1)
    run(harness, receiver)
    lose_chores(harness, job)
    run(harness, receiver)

    assert len(receiver.sent) == 1


def test_an_undelivered_end_is_delivered_after_a_loss_of_redis_with_the_same_id(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    receiver.answers.append(500)
    run(harness, receiver)
    lose_chores(harness, job)
    run(harness, receiver)

    assert len(receiver.sent) == 2
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1


def test_an_end_after_a_retry_is_delivered_though_an_earlier_one_was(
    harness: ChoreHarness, receiver: Receiver
) -> None:
    job = submit(harness)
    work(harness)
    end(harness)
    run(harness, receiver)
    harness.clock.advance(60)
    # The job was retried and ended again, and then the job store was lost before the message was sent.
    result = JobResult.of(harness.job(job), JobState.SUCCEEDED, ended_at=harness.clock.now)
    harness.objects.put(object_keys.result(job.id), encode_result(result))
    harness.chores.forget(job.id)
    add_chores(harness.job(job), harness.objects, chores=harness.chores)

    assert harness.chores.claim((ChoreKind.NOTIFY,), seconds=30) is not None
