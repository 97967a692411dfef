"""The job store on Redis or Valkey, 6.2 and newer.

What must not be torn apart happens in Lua, in scripts of their own (`lua/*.lua`; they
share `lua/prelude.lua`, which lists the keys). This module calls them, and
`shared.job_rows` maps their answers. All keys begin with the hash tag `{fathom}`, so a
Redis Cluster holds them in one slot. Scripts are called by their hash, and loaded again
where the server has lost them.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import islice
from typing import Any, TypeVar

from redis import Redis

from shared import job_rows
from shared.connections import redis_errors
from shared.errors import InvalidTransition, JobNotFound, WorkerCrashed
from shared.jobs import (
    ALREADY,
    TRANSITIONS,
    ImageFailure,
    ImageState,
    ImageStatus,
    Job,
    JobState,
    Lease,
    Page,
    Phase,
    Range,
    is_job_id,
    refusal,
)
from shared.ports import JobStore

T = TypeVar("T")

#: The hash tag all keys begin with.
ROOT = "{fathom}"
#: Most leases one script takes back, so that no call blocks the server for long.
REAP_AT_ONCE = 100
#: Failures read at once, so that 100,000 of them are never in memory together.
FAILURES_AT_ONCE = 1000

_SCRIPTS = (
    *("create", "get", "list", "transition", "retry", "delete"),
    *("lease", "renew", "measured", "done", "charge", "give_back"),
    *("reap", "claim_finalize", "finish", "register_worker", "slots", "pending_chunks", "acquire"),
)


class RedisJobStore(JobStore):
    """Jobs in Redis. The client must answer in bytes, as that of `connect_redis` does."""

    def __init__(
        self,
        client: Redis,
        *,
        lease_seconds: float = 15.0,
        max_attempts: int = 3,
        retry_delays: Sequence[float] = (1.0, 5.0),
        claim_seconds: float = 60.0,
        worker_seconds: float = 15.0,
    ) -> None:
        """Take a client, and times in seconds; nothing is sent.

        `retry_delays` are the waits after the first, second, ... attempt charged; the
        last of them stands for all that follow.
        """
        self._client = client
        self._scripts = {name: client.register_script(_source(name)) for name in _SCRIPTS}
        self._lease_ms = _milliseconds(lease_seconds)
        self._claim_ms = _milliseconds(claim_seconds)
        self._worker_ms = _milliseconds(worker_seconds)
        delays = [_milliseconds(delay) for delay in retry_delays]
        self._policy = json.dumps({"attempts": max_attempts, "delays_ms": delays})

    # --- what clients do ---

    def create(self, job: Job) -> None:
        _check_new(job)
        fields = [item for pair in job_rows.to_fields(job).items() for item in pair]
        self._call("create", job.id, job_rows.to_entry(job), *fields)

    def start(self, job_id: str) -> Job:
        return self._request("start", job_id)

    def get(self, job_id: str) -> Job:
        return job_rows.to_job(_found(self._call("get", _checked(job_id))))

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        end = "+" if cursor is None else f"({job_rows.checked_entry(cursor)}"
        rows = self._call("list", end, limit + 1)
        jobs = tuple(job_rows.to_job(snapshot) for _, snapshot in rows[:limit])
        return Page(items=jobs, next_cursor=rows[limit - 1][0].decode() if len(rows) > limit else None)

    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        bits = self._read_bits(job_id, cursor, most=None if state else limit + 1)
        candidates = bits.indices(state) if state else iter(range(cursor, bits.stop))
        indices = tuple(islice((i for i in candidates if i >= cursor), limit + 1))
        items = self._statuses(job_id, bits, indices[:limit])
        return Page(items=tuple(items), next_cursor=str(indices[limit]) if len(indices) > limit else None)

    def cancel(self, job_id: str) -> Job:
        return self._request("cancel", job_id)

    def pause(self, job_id: str) -> Job:
        return self._request("pause", job_id)

    def resume(self, job_id: str) -> Job:
        return self._request("resume", job_id)

    def retry(self, job_id: str) -> Job:
        return self._request("retry", job_id, script="retry")

    def delete(self, job_id: str) -> None:
        if is_job_id(job_id):
            self._call("delete", job_id)

    # --- what workers do ---

    def lease(self, worker: str, *, limit: int) -> Lease | None:
        if limit < 1:
            raise ValueError("A lease has at least one image.")
        # The id is made here, so that a repeated command finds the lease it made before.
        row = self._call("lease", secrets.token_hex(12), worker, limit, self._lease_ms)
        return job_rows.to_lease(row) if row else None

    def renew(self, lease: Lease, *, in_hand: int | None) -> JobState | None:
        hand = "" if in_hand is None else in_hand
        return job_rows.to_state(self._call("renew", lease.id, hand, self._lease_ms))

    def measured(self, lease: Lease, index: int, measured: Range) -> JobState | None:
        _check_index(lease, index)
        ends = [float(measured.low), float(measured.high)]
        if not all(map(math.isfinite, ends)):
            raise ValueError("A range has finite ends.")
        return self._end("measured", lease, index, *map(repr, ends))

    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        _check_index(lease, index)
        if lease.phase is Phase.MEASURE and failure is None:
            raise ValueError("An image that was only measured is not done.")
        text = job_rows.failure_json(failure) if failure else ""
        return self._end("done", lease, index, lease.phase, text)

    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        _check_index(lease, index)
        return self._end("charge", lease, index, job_rows.failure_json(failure), self._policy)

    def give_back(self, lease: Lease) -> None:
        self._call("give_back", lease.id)

    # --- what keeps house ---

    def reap(self) -> int:
        error = WorkerCrashed()
        crashed = job_rows.failure_json(ImageFailure(code=error.code, message=error.message))
        reaped = 0
        while some := int(self._call("reap", crashed, self._policy, REAP_AT_ONCE)):
            reaped += some
        return reaped

    def claim_finalize(self) -> str | None:
        job_id = self._call("claim_finalize", self._claim_ms)
        return job_id.decode() if job_id else None

    def finish(self, job_id: str, state: JobState) -> None:
        if not state.ended:
            raise ValueError(f"A job does not end as {state}.")
        accepted, present = _found(self._call("finish", _checked(job_id), state))
        if not accepted:
            raise InvalidTransition(f"The job is {present.decode()} and does not wait to be finalised.")

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        bits = self._read_bits(job_id, 0)
        failed = bits.indices(ImageState.FAILED)
        while indices := tuple(islice(failed, FAILURES_AT_ONCE)):
            yield from self._statuses(job_id, bits, indices)

    def register_worker(self, worker: str, slots: int) -> None:
        self._call("register_worker", worker, slots, self._worker_ms)

    def forget_worker(self, worker: str) -> None:
        self._call("register_worker", worker, 0, 0)

    def slots(self) -> int:
        return int(self._call("slots"))

    def pending_chunks(self, chunk: int, *, at_most: int) -> int:
        return int(self._call("pending_chunks", chunk, at_most)) if at_most > 0 else 0

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        return bool(self._call("acquire", name, owner, _milliseconds(seconds)))

    def ping(self) -> None:
        with redis_errors():
            self._client.ping()

    # --- steps ---

    def _call(self, script: str, *args: str | int) -> Any:
        with redis_errors():
            return self._scripts[script](keys=[ROOT], args=args)

    def _end(self, script: str, lease: Lease, index: int, *args: str) -> JobState | None:
        answer = self._call(script, lease.id, lease.job_id, index, *args, self._lease_ms)
        return job_rows.to_state(answer)

    def _request(self, verb: str, job_id: str, *, script: str = "transition") -> Job:
        rule = json.dumps({"moves": TRANSITIONS[verb], "already": sorted(ALREADY[verb])})
        # The token lets a repeated command see that it was carried out, wherever the job is by then.
        answer = self._call(script, _checked(job_id), rule, secrets.token_hex(8))
        accepted, present = _found(answer)
        if not accepted:
            raise refusal(verb, JobState(present.decode()))
        return job_rows.to_job(present)

    def _read_bits(self, job_id: str, first: int, *, most: int | None = None) -> job_rows.ImageBits:
        """Read the bitmaps from image `first` on; with `most`, no further than so many images."""
        key = f"{ROOT}:job:{_checked(job_id)}"
        start, end = first // 8, -1 if most is None else (first + most) // 8
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.hmget(key, ["total", "state"])
            pipe.getrange(f"{key}:ok", start, end)
            pipe.getrange(f"{key}:bad", start, end)
            pipe.hkeys(f"{key}:held")
            (total, state), succeeded, failed, held = pipe.execute()
        total = int(_found(total))
        return job_rows.ImageBits(
            first=start * 8,
            stop=total if most is None else min(total, first + most),
            job_ended=JobState(state.decode()).ended,
            succeeded=succeeded,
            failed=failed,
            held=frozenset(int(index) for index in held),
        )

    def _statuses(
        self, job_id: str, bits: job_rows.ImageBits, indices: Sequence[int]
    ) -> Iterator[ImageStatus]:
        states = {index: bits.state_of(index) for index in indices}
        failures = self._read_failures(job_id, [i for i in indices if states[i] is ImageState.FAILED])
        for index in indices:
            yield ImageStatus(index=index, state=states[index], failure=failures.get(index))

    def _read_failures(self, job_id: str, indices: Sequence[int]) -> dict[int, ImageFailure | None]:
        if not indices:
            return {}
        with redis_errors():
            texts: Any = self._client.hmget(f"{ROOT}:job:{job_id}:errors", [str(i) for i in indices])
        return {index: job_rows.to_failure(text) for index, text in zip(indices, texts, strict=True)}


def _source(name: str) -> str:
    folder = resources.files("shared") / "lua"
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _check_new(job: Job) -> None:
    if job.state not in (JobState.UPLOADING, JobState.QUEUED):
        raise ValueError(f"A new job is uploading or queued, not {job.state}.")
    if not is_job_id(job.id) or not 0 < job.weight < math.inf:
        raise ValueError("A new job needs a job id and a positive weight.")


def _check_index(lease: Lease, index: int) -> None:
    if index not in lease.indices:
        raise ValueError(f"Image {index} is not in this lease.")


def _checked(job_id: str) -> str:
    """Return the id if it may be one: anything else is never made part of a key."""
    if not is_job_id(job_id):
        raise JobNotFound
    return job_id


def _found(answer: T | None) -> T:
    if answer is None:
        raise JobNotFound
    return answer
