"""Requests under an Idempotency-Key, on Redis: which payload came under it, and which job it made.

An entry is held while its request is being handled, by a token that must be renewed, so
that a client or a process that dies half-way does not lock its key. Before the job is
recorded the entry is sealed with the payload's fingerprint and the job's id: whoever finds it
later, its holder being dead, can look whether the job came to be.
"""

from __future__ import annotations

import hashlib

from redis import Redis

from shared.idempotency.port import Claim, Idempotency, Standing
from shared.redis.scripts import Scripts

#: Seconds that a holder is believed to be alive without renewing.
HOLD = 90.0
#: Seconds that an answer is kept.
KEEP = 24 * 3600.0


class RedisIdempotency(Idempotency):
    """Entries in Redis, each under the hash of its owner and key."""

    def __init__(self, client: Redis, *, hold: float = HOLD, keep: float = KEEP) -> None:
        """Take a client, and times in seconds; nothing is sent."""
        self._scripts = Scripts(client, ("idempotency",), package=__package__)
        self._times = (round(hold * 1000), round(keep * 1000))

    def claim(self, owner: str, key: str, token: str) -> Claim:
        standing, fingerprint, job_id, left = self._scripts.call(
            "idempotency", entry_name(owner, key), "claim", token, *self._times
        )
        return Claim(
            standing=Standing(standing.decode()),
            fingerprint=fingerprint.decode(),
            job_id=job_id.decode(),
            seconds_left=left / 1000,
        )

    def renew(self, owner: str, key: str, token: str) -> bool:
        return self._carry_out("renew", owner, key, token)

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        return self._carry_out("seal", owner, key, token, fingerprint, job_id)

    def finish(self, owner: str, key: str, token: str) -> bool:
        return self._carry_out("finish", owner, key, token)

    def release(self, owner: str, key: str, token: str) -> bool:
        return self._carry_out("release", owner, key, token)

    def _carry_out(self, verb: str, owner: str, key: str, token: str, *args: str) -> bool:
        answer = self._scripts.call("idempotency", entry_name(owner, key), verb, token, *self._times, *args)
        return bool(answer)


def entry_name(owner: str, key: str) -> str:
    """Return the name of an entry: keys of different owners never meet, whatever they hold."""
    owned = hashlib.sha256(owner.encode()).digest() + key.encode()
    return hashlib.sha256(owned).hexdigest()
