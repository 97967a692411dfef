"""Keep secrets out of the log, whatever wrote the line and whatever it quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from shared.net.redis_address import redis_secrets
from shared.settings import Settings

_HIDDEN = "***"
#: Shorter secrets are not blanked, because ordinary words would contain them.
_SHORTEST = 6

#: What secrets look like. The groups stay visible.
_PATTERNS = (
    # An API key; its id stays visible.
    re.compile(r"(fathom_[a-z2-7]{12}_)[a-z2-7]+"),
    # The secret that signs webhooks.
    re.compile(r"(\bwhsec_)[A-Za-z0-9+/=]+"),
    # A session's cookie; the id of its key stays visible.
    re.compile(r"(\bs1\.[a-z2-7]{12}\.)[0-9]+\.[0-9a-f]+"),
    # Presigned URLs, and the signature of a request to S3.
    re.compile(r"(?i)(\b(?:x-amz-)?signature=)[^&\s\"',\\]+"),
    re.compile(r"(?i)(\bx-amz-(?:credential|security-token)=)[^&\s\"'\\]+"),
    re.compile(r"(?i)(\bcredential=)[^&\s\"',\\]+"),
    # A request's Authorization header, or Proxy-Authorization.
    re.compile(r"(?i)(\bauthorization\\*[\"']?\s*[:=,]\s*b?\\*[\"']?(?:bearer|basic)\s+)[^\s\"',\\]+"),
    # The passwords in a URL: before the host, and among its options.
    re.compile(r"(?i)([?&][a-z_]*password=)[^&\s\"',;\\]+"),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^/\s:@\"'\\]*:)[^@/\s\"'\\]+(?=@)"),
)


class Redactor:
    """Blanks out known secrets in a text, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        # The longest come first, since one secret may contain another.
        ordered = sorted(forms, key=len, reverse=True)
        self._named = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        if self._named is not None:
            text = self._named.sub(_HIDDEN, text)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{_HIDDEN}", text)
        return text


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return the secrets that the settings hold."""
    found = (settings.s3_secret_key, settings.metrics_token)
    passwords = {*redis_secrets(settings.redis_url), *redis_secrets(settings.broker_at)}
    return (*settings.webhook_secrets, *passwords, *(secret for secret in found if secret is not None))


def _forms(secret: str) -> tuple[str, ...]:
    """Return the forms of a secret: as it is, as in JSON, and as in a URL."""
    return secret, json.dumps(secret)[1:-1], quote(secret, safe="")
