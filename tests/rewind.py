"""Let time pass for the stores on a real server, whose clock cannot be set."""

from __future__ import annotations

from typing import Any

import redis

from shared.chores.port import ChoreKind

ROOT = "{fathom}"


class Rewind:
    """Lets time pass for jobs: `Rewind(client)(60)` moves every stored time 60 seconds into the past."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, seconds: float) -> None:
        ms = round(seconds * 1000)
        for name in ("expiry", "waiting", "finalize", "workers", "idle", "unwritten"):
            self._shift_scores(f"{ROOT}:{name}", ms)
        for key in self._client.scan_iter(f"{ROOT}:job:*:retries"):
            self._shift_scores(key, ms)
        for key in self._client.scan_iter(f"{ROOT}:job:*:rate"):
            self._shift_buckets(key, round(seconds / 5))
        for pattern in (f"{ROOT}:lock:*", f"{ROOT}:job:*:events"):
            for key in self._client.scan_iter(pattern):
                self._shorten_life(key, ms)
        for key in self._client.scan_iter(f"{ROOT}:job:*", _type="HASH"):
            if self._client.hexists(key, "started_at"):
                self._client.hincrby(key, "started_at", -ms)

    def _shift_scores(self, key: str | bytes, ms: int) -> None:
        members: list[Any] = self._client.zrange(key, 0, -1)
        for member in members:
            self._client.zincrby(key, -ms, member)

    def _shorten_life(self, key: bytes, ms: int) -> None:
        left = self._client.pttl(key)
        if left >= 0:
            self._client.pexpire(key, max(left - ms, 0))

    def _shift_buckets(self, key: bytes, buckets: int) -> None:
        counts = self._client.hgetall(key)
        self._client.delete(key)
        for bucket, count in counts.items():
            self._client.hset(key, str(int(bucket) - buckets), count)


class RewindChores:
    """Lets time pass for chores in the same way."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, seconds: float) -> None:
        keys = [f"{ROOT}:chores:{kind}" for kind in ChoreKind]
        for key in (*keys, *self._client.scan_iter(f"{ROOT}:chores-of:*")):
            chores: list[Any] = self._client.zrange(key, 0, -1)
            for chore in chores:
                self._client.zincrby(key, -seconds * 1000, chore)
