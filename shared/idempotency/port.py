"""The port of Idempotency-Keys: which submission used a key, and what became of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: How many seconds an answer is kept.
KEEP = 24 * 3600.0


class Standing(StrEnum):
    """The state in which a submission finds its Idempotency-Key."""

    #: Nothing used the key; now the caller holds it.
    NEW = "new"
    #: Another submission holds the key, and renewed it lately.
    RUNNING = "running"
    #: The holder died after sealing, and may have recorded its job; now the caller holds the key.
    SEALED = "sealed"
    #: A submission with this key was carried out.
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An Idempotency-Key and its state; if it is sealed or done, payload and job are known."""

    standing: Standing
    fingerprint: str = ""
    job_id: str = ""
    #: Seconds until the holder loses the key, unless it renews.
    seconds_left: float = 0.0


class Idempotency(Protocol):
    """Submissions by owner and Idempotency-Key. A submission holds its key with a token.

    Every method may raise JobStoreUnavailable, and may be repeated. Methods that return a bool
    return False, and change nothing, if the caller no longer holds the key.
    """

    def claim(self, owner: str, key: str, token: str) -> Claim:
        """Take a key that nothing holds, or return its state."""

    def renew(self, owner: str, key: str, token: str) -> bool:
        """Show that the holder is alive."""

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        """Record the payload's fingerprint, and the id of the job that comes next."""

    def finish(self, owner: str, key: str, token: str) -> bool:
        """Keep the answer for a day."""

    def release(self, owner: str, key: str, token: str) -> bool:
        """Forget a submission that failed."""


def entry_name(owner: str, key: str) -> str:
    """Return the name of an entry; two owners never share one, whatever their keys contain."""
    owned = hashlib.sha256(owner.encode()).digest() + key.encode()
    return hashlib.sha256(owned).hexdigest()
