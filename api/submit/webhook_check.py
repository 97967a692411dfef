"""Check the webhook of a request: whether this server will call it."""

from __future__ import annotations

from api.schema.request_models import GivenWebhook
from shared.errors import AddressRefused, InvalidWebhook, WebhooksOff
from shared.jobs.job import Webhook
from shared.net.url_policy import AllowedHosts, parse_url
from shared.settings import Settings


def check_webhook(settings: Settings, given: GivenWebhook | None) -> Webhook | None:
    """Return a webhook that this server will call, or None if none was given.

    Raises WebhooksOff if the server calls none, and InvalidWebhook with the reason if it refuses this one.
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
