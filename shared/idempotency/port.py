"""The port of Idempotency-Keys: which request came under a key, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Standing(StrEnum):
    """How an Idempotency-Key stands when a request comes under it."""

    #: Nobody worked under it; now the caller does.
    NEW = "new"
    #: Somebody else works under it, and was heard of lately.
    RUNNING = "running"
    #: Somebody died who knew the payload and may have recorded the job; now the caller holds it.
    SEALED = "sealed"
    #: A request under it was carried out.
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An Idempotency-Key as it stands; payload and job are known where it is sealed or done."""

    standing: Standing
    fingerprint: str = ""
    job_id: str = ""
    #: Seconds until a holder that is not heard of again loses its hold.
    seconds_left: float = 0.0


class Idempotency(Protocol):
    """Requests by owner and Idempotency-Key; whoever works under a key holds it by a token.

    Every method may raise JobStoreUnavailable, and may be repeated. Those that return
    a bool return False if the caller does not hold the key any more, and then change nothing.
    """

    def claim(self, owner: str, key: str, token: str) -> Claim:
        """Take a key that nobody holds, or tell how it stands."""

    def renew(self, owner: str, key: str, token: str) -> bool:
        """Say that the holder is alive."""

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        """Record the payload and the id of the job that is about to be recorded."""

    def finish(self, owner: str, key: str, token: str) -> bool:
        """Keep the answer for a day."""

    def release(self, owner: str, key: str, token: str) -> bool:
        """Forget a request that came to nothing."""
