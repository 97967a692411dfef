"""Chores on Redis or Valkey, beside the jobs; the steps are in `lua/chores.lua` and `lua/chore_*.lua`."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

from redis import Redis

from shared.chores.port import Chore, ChoreKind, Chores, ChoreState
from shared.redis.scripts import Scripts

_SCRIPTS = ("chore_add", "chore_wake", "chore_claim", "chore_settle", "chore_list", "chore_forget")
#: A chore is kept for so many seconds once it is done.
KEEP = 30 * 24 * 3600
#: The list of a job's chores is kept twice as long, so that it outlives them.
_CONSTANTS = {"OF_JOB_MS": 2 * KEEP * 1000}


class RedisChores(Chores):
    """Chores in Redis. The client must answer in bytes, as that of `connect_redis` does."""

    def __init__(self, client: Redis) -> None:
        self._call = Scripts(
            client, _SCRIPTS, package=__package__, preludes=("chores",), constants=_CONSTANTS
        ).call

    def add(
        self, chore_id: str, kind: ChoreKind, job_id: str, *, payload: str = "", delay: float = 0.0
    ) -> None:
        self._call("chore_add", chore_id, kind, job_id, payload, _milliseconds(delay))

    def wake(self, chore_id: str) -> None:
        self._call("chore_wake", chore_id)

    def claim(self, kinds: tuple[ChoreKind, ...], *, seconds: float) -> Chore | None:
        row = self._call("chore_claim", secrets.token_hex(8), _milliseconds(seconds), *kinds)
        return _to_chore(row) if row else None

    def renew(self, chore: Chore, *, seconds: float) -> bool:
        return self._settle(chore, "renew", seconds)

    def finish(self, chore: Chore, *, note: str = "", failed: bool = False) -> bool:
        return self._settle(chore, "fail" if failed else "finish", KEEP, note)

    def postpone(self, chore: Chore, *, seconds: float, note: str) -> bool:
        return self._settle(chore, "postpone", seconds, note)

    def release(self, chore: Chore, *, seconds: float = 0.0, faulty: bool = False) -> bool:
        return self._settle(chore, "blame" if faulty else "release", seconds)

    def get(self, chore_id: str) -> Chore | None:
        rows = self._call("chore_list", "", chore_id)
        return _to_chore(rows[0]) if rows else None

    def list(self, job_id: str) -> tuple[Chore, ...]:
        return tuple(map(_to_chore, self._call("chore_list", job_id, "")))

    def forget(self, job_id: str) -> None:
        self._call("chore_forget", job_id)

    def _settle(self, chore: Chore, verb: str, seconds: float, note: str = "") -> bool:
        return bool(self._call("chore_settle", chore.id, verb, chore.token, _milliseconds(seconds), note))


def _milliseconds(seconds: float) -> str | int:
    return "inf" if math.isinf(seconds) else round(seconds * 1000)


def _to_chore(row: Sequence[bytes]) -> Chore:
    chore_id, due, *pairs = row
    fields = {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}
    return Chore(
        id=chore_id.decode(),
        kind=ChoreKind(fields["kind"]),
        job_id=fields["job"],
        payload=fields["payload"],
        state=ChoreState(fields["state"]),
        created_at=int(fields["created"]) / 1000,
        due_at=float(due) / 1000,
        attempts=int(fields["attempts"]),
        claims=int(fields["claims"]),
        note=fields["note"],
        token=fields["token"],
    )
