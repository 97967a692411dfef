"""Webhooks: the deliveries of a job, and the secrets that sign them."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response

from api.auth import authorize
from api.routes.responses import json_response
from api.schema.operation import Answer, Operation
from api.schema.response_models import DeliveriesOut, DeliveryOut, WebhookSecretsOut
from api.services.backend import Backend, backend
from shared.api_keys import Scope
from shared.errors import JobNotFound, WebhooksOff
from shared.jobs import object_keys
from shared.net.webhook_signing import owner_secret
from shared.webhook_messages import Delivery, delivery_of

blueprint = Blueprint("webhooks", __name__)


@blueprint.get("/v1/jobs/<job_id>/deliveries")
@Operation(
    tag="Webhooks",
    answers=(Answer(status=200, description="Deliveries, the oldest first.", models=(DeliveriesOut,)),),
    problems=(JobNotFound,),
)
def deliveries(job_id: str) -> Response:
    """List the messages to a job's webhook, and the result of each.

    Only the last message about progress is listed, with the tries of the earlier ones.
    """
    found = _deliveries(backend(), authorize.job(job_id).id)
    return json_response(DeliveriesOut(deliveries=tuple(map(DeliveryOut.of, found))))


@blueprint.get("/v1/webhook-secrets")
@authorize.needs(Scope.SUBMIT)
@Operation(
    tag="Webhooks",
    answers=(
        Answer(
            status=200,
            description="The secret that will stay comes first.",
            models=(WebhookSecretsOut,),
        ),
    ),
    problems=(WebhooksOff,),
)
def secrets() -> Response:
    """Return the secrets that sign the caller's webhooks and no one else's.

    There are several while the server's own secret is being replaced. Every message then carries a
    signature by each.
    """
    server = backend().settings.webhook_secrets
    if not server:
        raise WebhooksOff
    return json_response(WebhookSecretsOut(secrets=tuple(owner_secret(s, authorize.owner()) for s in server)))


def _deliveries(parts: Backend, job_id: str) -> Iterator[Delivery]:
    """Yield the deliveries in the job store, and before them the settled ones that it has lost."""
    known = [delivery for chore in parts.chores.list(job_id) if (delivery := delivery_of(chore))]
    ids = {delivery.id for delivery in known}
    prefix = object_keys.deliveries_prefix(job_id)
    for entry in parts.objects.list(prefix):
        if entry.key.removeprefix(prefix).removesuffix(".json") not in ids:
            yield Delivery.from_json(parts.objects.get(entry.key).decode())
    yield from known
