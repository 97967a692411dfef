"""The value of a session's cookie: signed, not stored.

It is `s1.<key id>.<expiry>.<signature>`, signed with the hash of the key. Whoever knows that hash can read
the object store, and so the photos anyway. A session allows reading and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from shared.api_keys import ApiKey

NAME = "fathom_session"
#: Seconds that a session lasts.
LIFETIME = 8 * 3600

_VALUE = re.compile(r"s1\.([a-z2-7]{12})\.([0-9]{1,12})\.[0-9a-f]{64}\Z")


def sign(key: ApiKey, expires: int) -> str:
    """Return the cookie of a key's session that ends at `expires`, in seconds since the epoch."""
    return _sign(key.id, key.hash, expires)


def split(value: str) -> tuple[str, int] | None:
    """Return the key's id and the expiry in a cookie, or None if it is not a session cookie."""
    match = _VALUE.match(value)
    return (match[1], int(match[2])) if match else None


def is_signed_by(key: ApiKey, value: str, expires: int) -> bool:
    """Return whether this key signed a cookie. After a rotation, older cookies are valid as long as the
    previous secret is.
    """
    signed = [_sign(key.id, known, expires).encode() for known in key.hashes]
    return any([hmac.compare_digest(each, value.encode()) for each in signed])


def _sign(key_id: str, key_hash: bytes, expires: int) -> str:
    message = f"s1.{key_id}.{expires}"
    signature = hmac.new(key_hash, f"fathom session {message}".encode(), hashlib.sha256)
    return f"{message}.{signature.hexdigest()}"
