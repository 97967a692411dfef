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
from tests.unit.worker.chores.conftest import House
from worker.chores.runner import ChoreHandler, ChoreRunner
from worker.chores.webhooks import PROGRESS, RETRIES, DeliverMessage, Messenger, NotifyWebhook
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
    """A receiver that answers with the statuses given, then 200; an error stands for no answer."""

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


def submit(house: House, *, events: tuple[WebhookEvent, ...] = (WebhookEvent.ENDED,), **changes: Any) -> Job:
    webhook = Webhook(url=URL, events=events)
    fields: dict[str, Any] = {"total": 2, "state": JobState.QUEUED, "gathered": False, "webhook": webhook}
    return house.accept(**fields | changes)


def work(house: House, *, images: int = 10) -> None:
    lease = house.jobs.lease("worker", limit=images)
    assert lease is not None
    for index in lease.indices:
        house.jobs.done(lease, index)


def end(house: House) -> None:
    finalize_claimed(claim(house.jobs), house.jobs, house.objects, chores=house.chores)


def run(house: House, receiver: Receiver) -> int:
    messenger = Messenger(outbound=receiver, secrets=SECRETS, clock=house.clock)
    handlers: dict[ChoreKind, ChoreHandler] = {
        ChoreKind.NOTIFY: NotifyWebhook(house.jobs, house.objects, house.chores, messenger),
        ChoreKind.DELIVER: DeliverMessage(house.jobs, house.objects, house.chores, messenger),
    }
    return ChoreRunner(house.chores, handlers, stopping=lambda: False).run_due()


def deliveries(house: House, job: Job) -> list[Delivery]:
    return [found for chore in house.chores.list(job.id) if (found := delivery_of(chore))]


def test_the_end_of_a_job_is_told_once(house: House, receiver: Receiver) -> None:
    job = submit(house, title="Walk «写真»")
    run(house, receiver)
    work(house)
    run(house, receiver)
    assert receiver.sent == []

    end(house)
    run(house, receiver)
    house.clock.advance(10 * 24 * 3600)
    run(house, receiver)

    (sent,) = receiver.sent
    assert sent.url == URL
    assert sent.json["type"] == "job.ended"
    data = sent.json["data"]
    assert isinstance(data, dict)
    assert (data["id"], data["state"], data["title"]) == (job.id, "succeeded", "Walk «写真»")
    assert data["counts"] == {"total": 2, "succeeded": 2, "failed": 0, "pending": 0}
    assert datetime.fromisoformat(str(data["ended_at"])).timestamp() == pytest.approx(house.job(job).ended_at)
    (delivery,) = deliveries(house, job)
    assert (delivery.state, delivery.attempts, delivery.next_at) == (DeliveryState.DELIVERED, 1, None)
    assert delivery.id == sent.headers["webhook-id"]


def test_a_message_bears_a_signature_of_every_secret_that_others_can_check(
    house: House, receiver: Receiver
) -> None:
    house.clock.now = datetime.now().timestamp()
    submit(house, owner="alice")
    work(house)
    end(house)
    run(house, receiver)

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
    house: House, receiver: Receiver
) -> None:
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.extend([500, 302, OutboundFailed("x"), 404, 429, 503, 400, 500])
    began, tries = house.clock.now, []
    while house.clock.now - began < 48 * 3600:
        before = len(receiver.sent)
        run(house, receiver)
        tries += [house.clock.now - began] * (len(receiver.sent) - before)
        house.clock.advance(1 if house.clock.now - began < 10 else 600)

    assert len(receiver.sent) == len(RETRIES) + 1 == 8
    assert tries[0] == 0
    assert 4 <= tries[1] <= 7
    assert 24 * 3600 < tries[-1] < 36 * 3600
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1
    assert len({sent.body for sent in receiver.sent}) == 1
    timestamps = [int(sent.headers["webhook-timestamp"]) for sent in receiver.sent]
    assert timestamps == [int(began + at) for at in tries]
    (delivery,) = deliveries(house, job)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 8)
    assert [(t.status, t.error) for t in delivery.tries][:3] == [
        (500, None),
        (302, None),
        (None, "unreachable"),
    ]


def test_a_message_that_arrives_at_last_is_delivered(house: House, receiver: Receiver) -> None:
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.append(500)
    run(house, receiver)
    (waiting,) = deliveries(house, job)
    assert waiting.state is DeliveryState.PENDING
    assert waiting.next_at is not None
    assert 4 < waiting.next_at - house.clock.now < 6

    house.clock.advance(6)
    run(house, receiver)
    assert [delivery.state for delivery in deliveries(house, job)] == [DeliveryState.DELIVERED]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_success_is_one(house: House, receiver: Receiver, status: int) -> None:
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.append(status)
    run(house, receiver)

    assert deliveries(house, job)[0].state is DeliveryState.DELIVERED


def test_a_receiver_that_is_gone_is_left_alone_for_good(house: House, receiver: Receiver) -> None:
    job = submit(house, events=ALL)
    house.jobs.lease("worker", limit=1)
    receiver.answers.append(410)
    run(house, receiver)
    house.clock.advance(100)
    house.jobs.reap()
    work(house)
    work(house)
    end(house)
    for _ in range(5):
        run(house, receiver)
        house.clock.advance(3600)

    assert [sent.json["type"] for sent in receiver.sent] == ["job.progress"]
    assert [delivery.state for delivery in deliveries(house, job)] == [DeliveryState.FAILED]


def test_an_address_that_is_refused_is_tried_like_one_that_does_not_answer(
    house: House, receiver: Receiver
) -> None:
    """A name may lead elsewhere for a while; nothing is told of where."""
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.append(AddressRefused())
    run(house, receiver)

    (delivery,) = deliveries(house, job)
    assert (delivery.state, delivery.tries[0].error) == (DeliveryState.PENDING, "refused")


def test_every_end_of_a_job_is_a_message_of_its_own(house: House, receiver: Receiver) -> None:
    job = submit(house, total=1)
    for _ in range(2):
        lease = house.jobs.lease("worker", limit=1)
        assert lease is not None
        house.jobs.done(lease, 0, failure=CORRUPT)
        end(house)
        run(house, receiver)
        house.clock.advance(5)
        house.jobs.retry(job.id)
    run(house, receiver)

    assert [sent.json["type"] for sent in receiver.sent] == ["job.ended", "job.ended"]
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 2


def test_a_job_that_fails_as_a_whole_is_told_with_its_reason(house: House, receiver: Receiver) -> None:
    job = submit(house, total=0, state=JobState.UPLOADING, gathered=True)
    house.jobs.abort(job.id, CORRUPT)
    end(house)
    run(house, receiver)

    data = receiver.sent[0].json["data"]
    assert isinstance(data, dict)
    assert (data["state"], data["error"]["code"]) == ("failed", CORRUPT.code)


def test_a_worker_that_dies_between_telling_and_the_end_loses_no_message(
    house: House, receiver: Receiver
) -> None:
    """The webhook's chore is woken before the end is set; it waits until it is."""
    job = submit(house)
    work(house)
    house.chores.wake(notify_id(job.id))
    run(house, receiver)
    assert receiver.sent == []

    house.clock.advance(1)
    end_without_telling(house)
    run(house, receiver)
    assert len(receiver.sent) == 1


def end_without_telling(house: House) -> None:
    finalize_claimed(claim(house.jobs), house.jobs, house.objects)


def test_progress_is_told_now_and_then_while_there_is_some(house: House, receiver: Receiver) -> None:
    job = submit(house, events=ALL, total=3)
    run(house, receiver)
    assert receiver.sent == [], "It waits for workers."
    for done in range(3):
        house.clock.advance(PROGRESS)
        lease = house.jobs.lease("worker", limit=1)
        assert lease is not None
        run(house, receiver)
        house.jobs.done(lease, done)
    end(house)
    run(house, receiver)

    bodies = [sent.json for sent in receiver.sent]
    assert [body["type"] for body in bodies] == ["job.progress"] * 3 + ["job.ended"]
    counts = [body["data"]["counts"]["succeeded"] for body in bodies]
    assert counts == [0, 1, 2, 3]
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 4
    progress, ended = deliveries(house, job)
    assert (progress.event, progress.attempts, progress.state) == (
        WebhookEvent.PROGRESS,
        3,
        DeliveryState.DELIVERED,
    )
    assert ended.event is WebhookEvent.ENDED


def test_progress_that_does_not_arrive_is_not_tried_again(house: House, receiver: Receiver) -> None:
    submit(house, events=(WebhookEvent.PROGRESS,), total=3)
    house.jobs.lease("worker", limit=1)
    receiver.answers.extend([500, 500])
    run(house, receiver)
    house.clock.advance(PROGRESS)
    run(house, receiver)

    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 2


def test_who_did_not_ask_for_the_end_is_not_told_of_it(house: House, receiver: Receiver) -> None:
    submit(house, events=(WebhookEvent.PROGRESS,))
    work(house)
    end(house)
    run(house, receiver)

    assert receiver.sent == []


def test_a_deleted_job_tells_nothing_more(house: House, receiver: Receiver) -> None:
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.append(500)
    run(house, receiver)
    house.jobs.delete(job.id)
    house.objects.delete(object_keys.job_record(job.id))
    house.clock.advance(60)
    run(house, receiver)

    assert len(receiver.sent) == 1
    assert house.chores.list(job.id)[-1].state is ChoreState.FAILED


# --- after a loss of Redis ----------------------------------------------------------


def lose_chores(house: House, job: Job) -> None:
    house.chores.forget(job.id)
    add_chores(house.job(job), house.objects, chores=house.chores)


def test_an_end_that_was_told_is_not_told_again_after_a_loss(house: House, receiver: Receiver) -> None:
    job = submit(house)
    work(house)
    end(house)
    house.clock.advance(1)
    run(house, receiver)
    lose_chores(house, job)
    run(house, receiver)

    assert len(receiver.sent) == 1


def test_an_end_that_was_not_told_is_told_after_a_loss_under_the_same_id(
    house: House, receiver: Receiver
) -> None:
    job = submit(house)
    work(house)
    end(house)
    receiver.answers.append(500)
    run(house, receiver)
    lose_chores(house, job)
    run(house, receiver)

    assert len(receiver.sent) == 2
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1


def test_an_end_after_a_retry_is_told_though_an_earlier_one_was(house: House, receiver: Receiver) -> None:
    job = submit(house)
    work(house)
    end(house)
    run(house, receiver)
    house.clock.advance(60)
    # It was retried and ended anew, and then the job store was lost before that was told.
    result = JobResult.of(house.job(job), JobState.SUCCEEDED, ended_at=house.clock.now)
    house.objects.put(object_keys.result(job.id), encode_result(result))
    house.chores.forget(job.id)
    add_chores(house.job(job), house.objects, chores=house.chores)

    assert house.chores.claim((ChoreKind.NOTIFY,), seconds=30) is not None
