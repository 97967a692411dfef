"""Idempotency-Keys on Redis: which payload used a key, and which job it made.

While a submission is under way, it holds its entry with a token and renews it, so that a client or
a process that dies half-way does not lock its key. Before the job is recorded, the entry is sealed
with the payload's fingerprint and the job's id. If the holder dies, the next submission can look whether
the job exists.
"""

from __future__ import annotations

from redis import Redis

from shared.idempotency.port import KEEP, Claim, Idempotency, Standing, entry_name
from shared.redis.scripts import Scripts

#: In milliseconds: how long a holder keeps a key without renewing it, and how long an answer is kept.
_TIMES = (90_000, round(KEEP * 1000))


class RedisIdempotency(Idempotency):
    """Entries in Redis, named by the hash of owner and key."""

    def __init__(self, client: Redis) -> None:
        """Take a client; nothing is sent."""
        self._scripts = Scripts(client, ("idempotency",), package=__package__)

    def claim(self, owner: str, key: str, token: str) -> Claim:
        standing, fingerprint, job_id, left = self._scripts.call(
            "idempotency", entry_name(owner, key), "claim", token, *_TIMES
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
        answer = self._scripts.call("idempotency", entry_name(owner, key), verb, token, *_TIMES, *args)
        return bool(answer)
