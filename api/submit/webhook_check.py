"""A webhook as a client gives it, made one that this server will call."""

from __future__ import annotations

from api.schema.request_models import GivenWebhook
from shared.errors import AddressRefused, InvalidWebhook, WebhooksOff
from shared.jobs.job import Webhook
from shared.net.url_policy import AllowedHosts, parse_url
from shared.settings import Settings


def check_webhook(settings: Settings, given: GivenWebhook | None) -> Webhook | None:
    """Return a webhook that this server will call.

    Raises WebhooksOff if it calls none, and InvalidWebhook, with the reason, if it does not call this one.
    """
    if given is None:
        return None
    if not settings.webhook_secrets:
        raise WebhooksOff
    try:
        target = parse_url(given.url, AllowedHosts.of(settings.source_hosts))
    except AddressRefused as exc:
        raise InvalidWebhook(f"webhook.url: {exc.message}") from exc
    return Webhook(url=target.url, events=tuple(dict.fromkeys(given.events)))
