"""The job store on Redis or Valkey, 6.2 and newer.

Every multi-key change is one Lua script, so it is atomic. The scripts (`lua/*.lua`) share `lua/prelude.lua`,
which lists the keys, and the three preludes after it. This module calls them, `redis_reader` reads, and
`rows` maps their answers. All keys begin with the hash tag `{fathom}`, so they lie in one slot.

All times in the store are the server's, except `Job.created_at`, which the caller takes from `now` and which
orders the lists and nothing else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from redis import Redis

from shared.errors import InvalidTransition, WorkerCrashed
from shared.jobs.job import (
    ALREADY,
    NO_QUOTA,
    TRANSITIONS,
    FinalizeClaim,
    ImageFailure,
    ImageStatus,
    Job,
    JobState,
    Lease,
    Phase,
    Quota,
    Range,
    ServedModel,
    Workload,
    is_job_id,
    refusal,
)
from shared.jobstore import rows
from shared.jobstore.checks import check_index, check_kept, check_new, check_owner, check_range
from shared.jobstore.port import DEFAULT_MODELS, JobStore
from shared.jobstore.redis_reader import PRELUDES, JobReader, checked, found, job_scripts
from shared.networks import MIDAS_SMALL
from shared.redis.client import redis_errors
from shared.redis.scripts import ROOT

#: So many leases one call takes back, and so many outcomes one call restores, so that no call blocks
#: the server for more than a few milliseconds.
REAP_AT_ONCE, RESTORE_AT_ONCE = 100, 250
#: Of more active jobs than this, the workload is that of so many, scaled up.
ACTIVE_AT_ONCE = 500
#: Beyond this share of the server's `maxmemory` new jobs are refused. The rest is for running jobs and
#: tickets.
FULL_ABOVE = 0.9

#: A server that is out of memory refuses these scripts.
_GROWING = ("create", "admit")
#: It still carries these out, so that accepted jobs go on.
_OOM_SAFE = (
    *("start", "abort", "transition", "retry", "delete"),
    *("lease", "measured", "done", "charge", "give_back", "pending_chunks"),
    *("reap", "finish", "expire", "restore", "restore_images", "restored"),
)
#: It carries these out too; they change no job.
_OOM_SAFE_WITHOUT_JOBS = (
    *("renew", "claim_finalize", "unwritten", "is_reconciled", "mark_reconciled"),
    *("register_worker", "slots", "acquire", "workload"),
)


class RedisJobStore(JobReader, JobStore):
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
        full_above: float = FULL_ABOVE,
    ) -> None:
        """Take a client, times in seconds, and a share of `maxmemory`; nothing is sent.

        `retry_delays` are the waits after the first, second, ... charged attempt; the last one also
        holds for all later attempts.
        """
        super().__init__(client)
        self._grow = job_scripts(client, _GROWING, preludes=PRELUDES).call
        self._call = job_scripts(client, _OOM_SAFE, preludes=("oom_safe", *PRELUDES)).call
        self._keep = job_scripts(client, _OOM_SAFE_WITHOUT_JOBS, preludes=("oom_safe", PRELUDES[0])).call
        self._lease_ms = _milliseconds(lease_seconds)
        self._claim_ms = _milliseconds(claim_seconds)
        self._worker_ms = _milliseconds(worker_seconds)
        self._full_above = repr(full_above)
        delays = [_milliseconds(delay) for delay in retry_delays]
        self._policy = json.dumps({"attempts": max_attempts, "delays_ms": delays})
        self._reconciling: str | None = None

    # --- what clients do ---

    def create(self, job: Job, *, quota: Quota = NO_QUOTA) -> None:
        check_new(job)
        fields = rows.to_fields(job)
        if job.state is JobState.UPLOADING:
            # Images and bytes that become known at the start count against the same bounds.
            fields["quota"] = rows.quota_json(quota)
        wanted = (job.owner, job.counts.total, job.bytes, rows.quota_json(quota), self._full_above)
        _check_accepted(self._grow("create", job.id, rows.to_entry(job), *wanted, *rows.flatten(fields)))

    def admit(self, owner: str, images: int, *, quota: Quota) -> None:
        check_owner(owner)
        _check_accepted(self._grow("admit", owner, images, rows.quota_json(quota), self._full_above))

    def start(self, job_id: str, *, total: int | None = None, bytes: int | None = None) -> Job:
        known = ["" if number is None else number for number in (total, bytes)]
        answer, *rest = self._ask("start", "start", job_id, *known)
        if answer == 2:
            raise rows.to_refusal(rest)
        if answer == 3:
            raise ValueError(f"The job has {rest[0]} images and is to start with {total}.")
        return rows.to_job(rest[0])

    def abort(self, job_id: str, failure: ImageFailure) -> Job:
        return rows.to_job(self._ask("abort", "abort", job_id, rows.failure_json(failure))[1])

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

    def lease(self, worker: str, *, limit: int, models: Iterable[str] = DEFAULT_MODELS) -> Lease | None:
        if limit < 1:
            raise ValueError("A lease has at least one image.")
        # The id is made here, so that a repeated command finds the lease it made before.
        row = self._call("lease", secrets.token_hex(12), worker, limit, self._lease_ms, *models)
        return rows.to_lease(row) if row else None

    def renew(self, lease: Lease, *, in_hand: int | None) -> JobState | None:
        hand = "" if in_hand is None else in_hand
        return rows.to_state(self._keep("renew", lease.id, hand, self._lease_ms))

    def measured(self, lease: Lease, index: int, measured: Range) -> JobState | None:
        check_index(lease, index)
        check_range(measured)
        return self._end("measured", lease, index, *rows.range_ends(measured))

    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        check_index(lease, index)
        if lease.phase is Phase.MEASURE and failure is None:
            raise ValueError("An image that was only measured is not done.")
        text = rows.failure_json(failure) if failure else ""
        return self._end("done", lease, index, lease.phase, text)

    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        check_index(lease, index)
        return self._end("charge", lease, index, rows.failure_json(failure), self._policy)

    def give_back(self, lease_id: str) -> None:
        self._call("give_back", lease_id)

    # --- maintenance ---

    def reap(self) -> int:
        error = WorkerCrashed()
        crashed = rows.failure_json(ImageFailure(code=error.code, message=error.message))
        reaped = 0
        while some := int(self._call("reap", crashed, self._policy, REAP_AT_ONCE)):
            reaped += some
        return reaped

    def claim_finalize(self) -> FinalizeClaim | None:
        row = self._keep("claim_finalize", self._claim_ms)
        return FinalizeClaim(job_id=row[0].decode(), number=int(row[1])) if row else None

    def finish(self, claim: FinalizeClaim, state: JobState) -> None:
        if not state.ended or state is JobState.EXPIRED:
            raise ValueError(f"A job does not end as {state}.")
        accepted, present = found(self._call("finish", checked(claim.job_id), state, claim.number))
        if not accepted:
            raise InvalidTransition(f"The job is {present.decode()} and does not wait for this end.")

    def unwritten_failures(self, *, limit: int = 100) -> tuple[tuple[str, ImageStatus], ...]:
        found_images = [(job.decode(), int(index)) for job, index in self._keep("unwritten", limit)]
        return tuple((job_id, self.failed_image(job_id, index)) for job_id, index in found_images)

    def mark_written(self, job_id: str, indices: Iterable[int]) -> None:
        members = [f"{job_id}:{index}" for index in indices]
        if members:
            with redis_errors():
                self._client.zrem(f"{ROOT}:unwritten", *members)

    def expire(self, job_id: str, *, before: float) -> None:
        rule = json.dumps({"moves": TRANSITIONS["expire"]})
        answer = self._call("expire", job_id, rule, _milliseconds(before)) if is_job_id(job_id) else None
        if answer is not None and not answer[0]:
            raise refusal("expire", JobState(answer[1].decode()))

    # --- recovery ---

    def is_reconciled(self) -> bool:
        answer, token = self._keep("is_reconciled", secrets.token_hex(8))
        self._reconciling = token.decode()
        return bool(answer)

    def mark_reconciled(self) -> None:
        if self._reconciling is None:
            self.is_reconciled()
        self._keep("mark_reconciled", self._reconciling or "")

    def restore(
        self,
        job: Job,
        *,
        succeeded: Iterable[int] = (),
        failures: Mapping[int, ImageFailure] | None = None,
        common: Range | None = None,
    ) -> None:
        check_kept(job)
        ended_ms = _milliseconds(job.ended_at) if job.ended_at is not None and job.state.ended else ""
        if common is not None:
            check_range(common)
        ends = rows.range_ends(common)
        fields = rows.flatten(rows.to_restored_fields(job))
        expired = job.state is JobState.EXPIRED
        outcomes = [] if expired else list(_outcomes(job, succeeded, failures or {}))
        # A 0 means that the job was deleted or has ended, so there is nothing to add.
        if not self._call("restore", job.id, rows.to_entry(job), ended_ms, *ends, *fields):
            return
        for start in range(0, len(outcomes), RESTORE_AT_ONCE):
            some = [item for pair in outcomes[start : start + RESTORE_AT_ONCE] for item in pair]
            if not self._call("restore_images", job.id, int(job.state.ended), *some):
                return
        self._call("restored", job.id, job.state if job.state.ended else "", ended_ms)

    # --- workers and numbers ---

    def register_worker(self, worker: str, slots: int, models: Mapping[str, float] = DEFAULT_MODELS) -> None:
        self._keep("register_worker", worker, slots, self._worker_ms, rows.models_text(models))

    def forget_worker(self, worker: str) -> None:
        self._keep("register_worker", worker, 0, 0, "")

    def slots(self) -> int:
        return sum(slots for slots, _ in self._keep("slots"))

    def served_models(self) -> dict[str, ServedModel]:
        return rows.to_served(self._keep("slots"))

    def workload(self) -> dict[str, Workload]:
        return rows.to_workload(self._keep("workload", ACTIVE_AT_ONCE))

    def pending_chunks(self, chunk: int, *, at_most: int, model: str = MIDAS_SMALL.name) -> int:
        return int(self._call("pending_chunks", chunk, at_most, model)) if at_most > 0 else 0

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        return bool(self._keep("acquire", name, owner, _milliseconds(seconds)))

    # --- steps ---

    def _end(self, script: str, lease: Lease, index: int, *args: str) -> JobState | None:
        answer = self._call(script, lease.id, lease.job_id, index, *args, self._lease_ms)
        return rows.to_state(answer)

    def _request(self, verb: str, job_id: str, *, script: str = "transition") -> Job:
        return rows.to_job(self._ask(verb, script, job_id)[1])

    def _ask(self, verb: str, script: str, job_id: str, *args: str | int) -> Any:
        """Send a client's request. Raises InvalidTransition if the job's state does not allow it."""
        rule = json.dumps({"moves": TRANSITIONS[verb], "already": sorted(ALREADY[verb])})
        # By its token, a repeated command sees that it was carried out, whatever the job's state is by then.
        answer = found(self._call(script, checked(job_id), rule, secrets.token_hex(8), *args))
        if answer[0] == 0:
            raise refusal(verb, JobState(answer[1].decode()))
        return answer


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _check_accepted(refused: Sequence[Any] | None) -> None:
    if refused is not None:
        raise rows.to_refusal(refused)


def _outcomes(
    job: Job, succeeded: Iterable[int], failures: Mapping[int, ImageFailure]
) -> Iterator[tuple[int, str]]:
    """Yield images and their failures as the scripts take them; '' is a success."""
    ended = ((index, "") for index in succeeded)
    failed = ((index, rows.failure_json(failure)) for index, failure in failures.items())
    for index, text in chain(ended, failed):
        if not 0 <= index < job.counts.total:
            raise ValueError(f"The job has no image {index}.")
        yield index, text
