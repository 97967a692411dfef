"""Sign webhooks by the Standard Webhooks specification (standardwebhooks.com, version 1).

Each owner has a secret of its own, derived from the server's, so that a receiver of webhooks cannot
forge another owner's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable

_PREFIX = "whsec_"
#: Bytes of a secret, as the specification has it.
_LEAST, _MOST = 24, 64
#: Bytes of a secret that Fathom makes.
_MADE = 32


def make_secret() -> str:
    """Return a new secret for a server."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_MADE)).decode()


def is_secret(text: str) -> bool:
    """Return whether a text is a secret: `whsec_` and 24 to 64 bytes in Base64."""
    try:
        return text.startswith(_PREFIX) and _LEAST <= len(_decode(text)) <= _MOST
    except (binascii.Error, ValueError):
        return False


def owner_secret(secret: str, owner: str) -> str:
    """Derive an owner's secret from one of the server's."""
    derived = hmac.digest(_decode(secret), b"fathom webhooks of " + owner.encode(), "sha256")
    return _PREFIX + base64.b64encode(derived).decode()


def sign(keys: Iterable[str], message_id: str, timestamp: int, payload: bytes) -> str:
    """Return the header `webhook-signature`: one signature for each secret, separated by spaces."""
    content = f"{message_id}.{timestamp}.".encode() + payload
    return " ".join(_signature(secret, content) for secret in keys)


def _signature(secret: str, content: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(_decode(secret), content, "sha256")).decode()


def _decode(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
