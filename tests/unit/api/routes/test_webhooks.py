"""Webhooks of jobs, and the deliveries to them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.chores.port import ChoreKind, notify_id
from shared.jobs import object_keys
from shared.jobs.job import ANYONE, Webhook, WebhookEvent
from shared.jobs.record import decode_job
from shared.net.webhook_signing import owner_secret
from shared.webhook_messages import Delivery, DeliveryState, Try, ended_message
from tests.unit.api.conftest import Api, ApiFactory, encode_form
from tests.unit.api.routes.test_submissions import nothing_is_left, problem

SECRETS = tuple("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
URL = "https://example.org/hook?token=1"


@pytest.fixture
def api(make_api: ApiFactory) -> Api:
    return make_api(webhook_secrets=SECRETS)


def announce(api: Api, webhook: Any) -> Any:
    return api.client.post("/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}], "webhook": webhook})


def in_form(api: Api, webhook: bytes) -> Any:
    return api.post_body(encode_form([("images", "a.jpg", b"x")], [("webhook", webhook)]))


@pytest.mark.parametrize("way", ["json", "form", "sources"])
def test_a_webhook_is_stored_for_every_kind_of_submission(api: Api, way: str) -> None:
    webhook = {"url": URL, "events": ["job.ended", "job.progress", "job.ended"]}
    response = {
        "json": lambda: announce(api, webhook),
        "form": lambda: in_form(api, json.dumps(webhook).encode()),
        "sources": lambda: api.client.post(
            "/v1/jobs", json={"sources": [{"url": "https://example.org/a.jpg"}], "webhook": webhook}
        ),
    }[way]()
    assert response.status_code == 202, response.text

    job_id = response.get_json()["id"]
    expected = Webhook(url=URL, events=(WebhookEvent.ENDED, WebhookEvent.PROGRESS))
    assert api.jobs.get(job_id).webhook == expected
    assert decode_job(api.objects.get(object_keys.job_record(job_id))).webhook == expected
    assert api.chores.get(notify_id(job_id)) is not None


def test_by_default_a_webhook_gets_the_end(api: Api) -> None:
    webhook = api.jobs.get(announce(api, {"url": URL}).get_json()["id"]).webhook

    assert webhook == Webhook(url=URL, events=(WebhookEvent.ENDED,))


def test_a_job_without_a_webhook_has_no_deliveries(api: Api) -> None:
    job_id = api.submit("a.jpg")

    assert api.jobs.get(job_id).webhook is None
    assert api.chores.list(job_id) == ()
    assert api.get(f"/v1/jobs/{job_id}/deliveries").get_json() == {"deliveries": []}


@pytest.mark.parametrize(
    ("webhook", "status", "code", "says"),
    [
        ({"url": "http://127.0.0.1/hook"}, 422, "invalid_webhook", "webhook.url"),
        ({"url": "http://localhost/"}, 422, "invalid_webhook", "webhook.url"),
        ({"url": "https://user:password@example.org/"}, 422, "invalid_webhook", "password"),
        ({"url": "ftp://example.org/"}, 422, "invalid_webhook", "http"),
        ({"url": ""}, 400, "invalid_request", "webhook.url"),
        ({}, 400, "invalid_request", "webhook.url"),
        ({"url": URL, "events": []}, 400, "invalid_request", "webhook.events"),
        ({"url": URL, "events": ["job.started"]}, 400, "invalid_request", "webhook.events.0"),
        ({"url": URL, "secret": "x"}, 400, "invalid_request", "webhook.secret"),
        ("https://example.org/", 400, "invalid_request", "webhook"),
        ([], 400, "invalid_request", "webhook"),
    ],
)
@pytest.mark.parametrize("form", [False, True])
def test_an_invalid_webhook_is_refused(
    api: Api, webhook: Any, status: int, code: str, says: str, form: bool
) -> None:
    response = in_form(api, json.dumps(webhook).encode()) if form else announce(api, webhook)

    assert says in problem(response, status, code)["detail"]
    assert nothing_is_left(api)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"", b"[" * 50_000])
def test_a_webhook_of_a_form_is_json(api: Api, data: bytes) -> None:
    problem(in_form(api, data), 400, "invalid_request")


def test_a_server_without_secrets_refuses_webhooks(make_api: ApiFactory) -> None:
    api = make_api()

    assert "FATHOM_WEBHOOK_SECRETS" in problem(announce(api, {"url": URL}), 422, "webhooks_off")["detail"]
    problem(api.get("/v1/webhook-secrets"), 422, "webhooks_off")


def test_the_secrets_of_the_caller_are_returned_with_the_permanent_one_first(api: Api) -> None:
    secrets = api.get("/v1/webhook-secrets").get_json()["secrets"]

    assert secrets == [owner_secret(secret, ANYONE) for secret in SECRETS]
    assert set(secrets).isdisjoint(SECRETS)


# --- deliveries -------------------------------------------------------------------


def test_deliveries_are_listed_with_their_tries(api: Api) -> None:
    job_id = announce(api, {"url": URL}).get_json()["id"]
    message = ended_message(api.jobs.get(job_id))
    api.chores.add(message.id, ChoreKind.DELIVER, job_id, payload=message.to_json())
    (waiting,) = api.get(f"/v1/jobs/{job_id}/deliveries").get_json()["deliveries"]
    assert (waiting["id"], waiting["event"], waiting["state"]) == (message.id, "job.ended", "pending")
    assert (waiting["attempts"], waiting["tries"]) == (0, [])
    assert waiting["next_at"].endswith("Z")

    chore = api.chores.claim((ChoreKind.DELIVER,), seconds=30)
    assert chore is not None
    delivery = Delivery(id=message.id, event=message.event, state=DeliveryState.PENDING)
    tried = delivery.tried(Try(at=1_700_000_000.5, status=503), DeliveryState.PENDING)
    api.chores.postpone(chore, seconds=300, note=tried.to_json())
    (waiting,) = api.get(f"/v1/jobs/{job_id}/deliveries").get_json()["deliveries"]
    assert waiting["attempts"] == 1
    assert waiting["tries"] == [{"at": "2023-11-14T22:13:20.500000Z", "status": 503, "error": None}]


def test_settled_deliveries_are_listed_after_a_loss_of_the_job_store(api: Api) -> None:
    job_id = announce(api, {"url": URL}).get_json()["id"]
    delivery = Delivery(id="msg_1", event=WebhookEvent.ENDED, state=DeliveryState.DELIVERED, attempts=2)
    api.objects.put(object_keys.delivery(job_id, "msg_1"), delivery.to_json().encode())
    api.chores.forget(job_id)

    (listed,) = api.get(f"/v1/jobs/{job_id}/deliveries").get_json()["deliveries"]
    assert (listed["id"], listed["state"], listed["attempts"], listed["next_at"]) == (
        "msg_1",
        "delivered",
        2,
        None,
    )


def test_the_deliveries_of_an_unknown_job_are_not_found(api: Api) -> None:
    problem(api.get(f"/v1/jobs/{'a' * 26}/deliveries"), 404, "job_not_found")
    problem(api.get(f"/v1/jobs/{'a' * 26}/skipped"), 404, "job_not_found")
