"""The job store in memory for unit tests; contract tests check that it behaves like the real one.

The real one keeps counters, while this one counts at every call.
"""

from __future__ import annotations

import math
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import islice
from operator import attrgetter
from threading import RLock
from time import time
from typing import Concatenate, ParamSpec, TypeVar

from fathom.options import Normalize
from shared.errors import (
    InvalidTransition,
    JobNotFound,
    JobStoreFull,
    JobStoreUnavailable,
    RequestError,
    WorkerCrashed,
)
from shared.jobs.job import (
    ALREADY,
    NO_QUOTA,
    TRANSITIONS,
    Counts,
    FinalizeClaim,
    ImageFailure,
    ImageState,
    ImageStatus,
    Job,
    JobEvents,
    JobState,
    Lease,
    Page,
    Phase,
    Quota,
    Range,
    ServedModel,
    Totals,
    Workload,
    is_job_id,
    quota_error,
    refusal,
)
from shared.jobstore.checks import check_index, check_kept, check_new, check_owner, check_range
from shared.jobstore.port import DEFAULT_MODELS
from shared.networks import MIDAS_SMALL
from tests.fakes_hooks import Hooked
from tests.fakes_jobs import FairQueues, JobRecord, LeaseRecord

P = ParamSpec("P")
T = TypeVar("T")


def _reachable(
    method: Callable[Concatenate[FakeJobStore, P], T],
) -> Callable[Concatenate[FakeJobStore, P], T]:
    """Run a method of the job store under its lock, or raise while the store is `away`."""

    @wraps(method)
    def call(self: FakeJobStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.away:
            self.refused += 1
            raise JobStoreUnavailable
        with self._lock:
            return method(self, *args, **kwargs)

    return call


class FakeJobStore(Hooked):
    """Keeps jobs in dictionaries, with a clock that tests can set.

    While `away` is set, every call raises JobStoreUnavailable, as if Redis were down. While `full` is set, it
    refuses new jobs, as if its memory were full. A test may unset `reconciled`, as a restart does.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time,
        *,
        lease_seconds: float = 15.0,
        max_attempts: int = 3,
        retry_delays: Sequence[float] = (1.0, 5.0),
        claim_seconds: float = 60.0,
        worker_seconds: float = 15.0,
    ) -> None:
        super().__init__()
        self.away = False
        #: The number of calls while the store was away.
        self.refused = 0
        self.full = False
        self.reconciled = False
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._retry_delays = retry_delays
        self._claim_seconds = claim_seconds
        self._worker_seconds = worker_seconds
        self._jobs: dict[str, JobRecord] = {}
        self._leases: dict[str, LeaseRecord] = {}
        self._finalize: dict[str, float] = {}
        self._workers: dict[str, tuple[int, float, Mapping[str, float]]] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._quotas: dict[str, Quota] = {}
        self._unwritten: dict[tuple[str, int], float] = {}
        self._outcomes: Counter[str] = Counter()
        self._fair_queues = FairQueues()
        self._lock = RLock()

    # --- what clients do ---

    @_reachable
    def create(self, job: Job, *, quota: Quota = NO_QUOTA) -> None:
        check_new(job)
        if job.id in self._jobs:
            return
        self._check_room(job.owner, job.counts.total, job.bytes, quota)
        self._quotas[job.id] = quota
        self._record(job)
        self._settle(job.id)

    @_reachable
    def admit(self, owner: str, images: int, *, quota: Quota) -> None:
        check_owner(owner)
        self._check_room(owner, images, 1, quota)

    @_reachable
    def start(self, job_id: str, *, total: int | None = None, bytes: int | None = None) -> Job:
        record = self._find(job_id)
        if record.state in TRANSITIONS["start"]:
            wanted = record.total if total is None else total
            if wanted == 0 or record.total not in (0, wanted):
                raise ValueError(f"The job has {record.total} images and is to start with {total}.")
            size = record.job.bytes if bytes is None else bytes
            quota = self._quotas.get(job_id, NO_QUOTA)
            self._check_quota(record.job.owner, wanted - record.total, size - record.job.bytes, quota)
            record.total = wanted
            record.job = replace(record.job, bytes=size)
        return self._request("start", job_id)

    @_reachable
    def abort(self, job_id: str, failure: ImageFailure) -> Job:
        record = self._find(job_id)
        if record.error is not None:
            return self.get(job_id)
        if record.state in TRANSITIONS["abort"]:
            record.error = failure
        return self._request("abort", job_id)

    @_reachable
    def get(self, job_id: str) -> Job:
        record = self._find(job_id)
        counts = Counts(
            total=record.total,
            succeeded=len(record.succeeded),
            failed=len(record.failed),
            measured=len(record.measured),
        )
        return record.snapshot(counts, self._clock())

    @_reachable
    def list(self, *, owner: str | None = None, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        ids = [id for id, record in self._jobs.items() if owner in (None, record.job.owner)]
        ids.sort(key=self._age, reverse=True)
        if cursor is not None:
            created, _, job_id = cursor.partition(":")
            if not (created.isascii() and created.isdigit()) or not is_job_id(job_id):
                raise RequestError
            ids = [id for id in ids if self._age(id) < (int(created), job_id)]
        more = "{}:{}".format(*self._age(ids[limit - 1])) if len(ids) > limit else None
        return Page(items=tuple(self.get(id) for id in ids[:limit]), next_cursor=more)

    @_reachable
    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        record = self._find(job_id)
        statuses = (record.status(index) for index in record.indices() if index >= cursor)
        found = tuple(islice((s for s in statuses if state in (None, s.state)), limit + 1))
        more = str(found[limit].index) if len(found) > limit else None
        return Page(items=found[:limit], next_cursor=more)

    @_reachable
    def events(self, job_id: str, *, after: str | None = None, limit: int = 1000) -> JobEvents:
        record = self._find(job_id)
        known = after is None or bool(re.fullmatch("[0-9]{1,18}", after, re.ASCII))
        given = int(after or record.events_from) if known else 0
        events = tuple(record.events_after(given, self._clock())[:limit])
        first = int(events[0].id) if events else record.last_event + 1
        complete = known and record.events_from <= given <= record.last_event and first == given + 1
        return JobEvents(events=events, complete=complete)

    @_reachable
    def last_event(self, job_id: str) -> str:
        return str(self._find(job_id).last_event)

    @_reachable
    def cancel(self, job_id: str) -> Job:
        return self._request("cancel", job_id)

    @_reachable
    def pause(self, job_id: str) -> Job:
        return self._request("pause", job_id)

    @_reachable
    def resume(self, job_id: str) -> Job:
        return self._request("resume", job_id)

    @_reachable
    def retry(self, job_id: str) -> Job:
        record = self._find(job_id)
        if record.error is not None:
            raise refusal("retry", record.state)
        if record.state in TRANSITIONS["retry"]:
            record.failed.clear()
            record.cursor = 0
            record.ended_at = None
            if record.phase is Phase.MEASURE:
                record.succeeded.clear()
        return self._request("retry", job_id)

    @_reachable
    def delete(self, job_id: str) -> None:
        if (record := self._jobs.pop(job_id, None)) is None:
            return
        self._drop_leases(record)
        self._finalize.pop(job_id, None)
        self._fair_queues.forget_job(record.job)
        if not any(other.job.owner == record.job.owner for other in self._jobs.values()):
            self._fair_queues.forget_owner(record.job.owner)

    # --- what workers do ---

    @_reachable
    def lease(self, worker: str, *, limit: int, models: Iterable[str] = DEFAULT_MODELS) -> Lease | None:
        if limit < 1:
            raise ValueError("A lease has at least one image.")
        self._update_queues()
        if (job_id := self._fair_queues.next(tuple(models))) is None:
            return None
        record = self._jobs[job_id]
        indices = self._take(record, limit)
        self._fair_queues.serve(record.job, len(indices) * record.cost)
        record.started_at = record.started_at or self._clock()
        record.state = JobState.PROCESSING
        return self._hold(job_id, indices)

    @_reachable
    def renew(self, lease: Lease, *, in_hand: int | None) -> JobState | None:
        if (held := self._leases.get(lease.id)) is None:
            return None
        held.hand = in_hand
        held.expires = self._clock() + self._lease_seconds
        return self._jobs[held.job_id].state

    @_reachable
    def measured(self, lease: Lease, index: int, measured: Range) -> JobState | None:
        check_index(lease, index)
        check_range(measured)
        return self._end(
            lease, index, Phase.MEASURE, lambda record: record.measured.update({index: measured})
        )

    @_reachable
    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        check_index(lease, index)
        if lease.phase is Phase.MEASURE and failure is None:
            raise ValueError("An image that was only measured is not done.")
        return self._end(lease, index, lease.phase, lambda record: self._end_image(record, index, failure))

    @_reachable
    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        check_index(lease, index)
        if (held := self._leases.get(lease.id)) is None:
            return None
        record = self._jobs[held.job_id]
        if index in held.images:
            self._release(record, index)
            self._charge_attempt(record, index, failure)
            self._settle(held.job_id)
        return self._answer(lease.id, record)

    @_reachable
    def give_back(self, lease_id: str) -> None:
        if (held := self._leases.pop(lease_id, None)) is not None:
            self._return_images(self._jobs[held.job_id], held)
            self._settle(held.job_id)

    # --- maintenance ---

    @_reachable
    def reap(self) -> int:
        expired = [id for id, lease in self._leases.items() if lease.expires <= self._clock()]
        for lease_id in sorted(expired, key=lambda id: self._leases[id].expires):
            held = self._leases.pop(lease_id)
            record = self._jobs[held.job_id]
            self._return_images(record, held)
            if held.hand in held.images:
                error = WorkerCrashed()
                failure = ImageFailure(code=error.code, message=error.message)
                self._charge_attempt(record, held.hand, failure)
            self._settle(held.job_id)
        return len(expired)

    @_reachable
    def claim_finalize(self) -> FinalizeClaim | None:
        now = self._clock()
        waiting = sorted((due, id) for id, due in self._finalize.items() if due <= now)
        if not waiting:
            return None
        _, job_id = waiting[0]
        self._finalize[job_id] = now + self._claim_seconds
        return FinalizeClaim(job_id=job_id, number=self._jobs[job_id].ending)

    @_reachable
    def finish(self, claim: FinalizeClaim, state: JobState) -> None:
        if not state.ended or state is JobState.EXPIRED:
            raise ValueError(f"A job does not end as {state}.")
        record = self._find(claim.job_id)
        is_this_end = record.ending == claim.number
        if is_this_end and record.state is state:
            return
        if not is_this_end or claim.job_id not in self._finalize:
            raise InvalidTransition
        self._end_job(record, state, None)

    @_reachable
    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        record = self._find(job_id)
        statuses = map(record.status, record.indices())
        return iter([status for status in statuses if status.state is ImageState.FAILED])

    @_reachable
    def unwritten_failures(self, *, limit: int = 100) -> tuple[tuple[str, ImageStatus], ...]:
        for job_id, index in list(self._unwritten):
            record = self._jobs.get(job_id)
            if record is None or record.state is JobState.EXPIRED or index not in record.failed:
                del self._unwritten[job_id, index]
        order = sorted(self._unwritten, key=lambda item: (self._unwritten[item], "{}:{}".format(*item)))
        return tuple((job_id, self._jobs[job_id].status(index)) for job_id, index in order[:limit])

    @_reachable
    def mark_written(self, job_id: str, indices: Iterable[int]) -> None:
        for index in indices:
            self._unwritten.pop((job_id, index), None)

    @_reachable
    def expirable(self, *, before: float, limit: int) -> tuple[str, ...]:
        found = {id: record.idle_since for id, record in self._jobs.items() if record.expires}
        ids = [id for id, since in found.items() if round(since * 1000) < round(before * 1000)]
        return tuple(sorted(ids, key=lambda id: (found[id], id))[:limit])

    @_reachable
    def expire(self, job_id: str, *, before: float) -> None:
        record = self._jobs.get(job_id)
        if record is None or record.state is JobState.EXPIRED:
            return
        is_late = round(record.idle_since * 1000) >= round(before * 1000)
        if record.state not in TRANSITIONS["expire"] or is_late:
            raise refusal("expire", record.state)
        self._end_job(record, JobState.EXPIRED, None)

    # --- recovery ---

    @_reachable
    def is_reconciled(self) -> bool:
        return self.reconciled

    @_reachable
    def mark_reconciled(self) -> None:
        self.reconciled = True

    @_reachable
    def restore(
        self,
        job: Job,
        *,
        succeeded: Iterable[int] = (),
        failures: Mapping[int, ImageFailure] | None = None,
        common: Range | None = None,
    ) -> None:
        check_kept(job)
        if common is not None:
            check_range(common)
        outcomes = [*((index, None) for index in succeeded), *(failures or {}).items()]
        if any(not 0 <= index < job.counts.total for index, _ in outcomes):
            raise ValueError("The job has no such image.")
        if job.state is JobState.EXPIRED:
            outcomes.clear()
        if (record := self._known(job)) is None:
            return
        if common is not None and record.phase is Phase.MEASURE:
            self._skip_measuring(record, common)
        self._add_outcomes(record, outcomes, ended=job.state.ended)
        if job.state.ended and not record.state.ended:
            self._end_job(record, job.state, job.ended_at)
        self._settle(job.id)

    # --- workers and numbers ---

    @_reachable
    def now(self) -> float:
        return self._clock()

    @_reachable
    def totals(self) -> Totals:
        return Totals(
            jobs=Counter(record.state for record in self._jobs.values()),
            unfinished_images=sum(record.unfinished for record in self._jobs.values()),
            leases=len(self._leases),
            outcomes=dict(self._outcomes),
            workers={
                name: slots for name, (slots, expires, _) in self._workers.items() if expires > self._clock()
            },
        )

    @_reachable
    def register_worker(self, worker: str, slots: int, models: Mapping[str, float] = DEFAULT_MODELS) -> None:
        self._workers[worker] = (slots, self._clock() + self._worker_seconds, models)

    @_reachable
    def forget_worker(self, worker: str) -> None:
        self._workers.pop(worker, None)

    @_reachable
    def slots(self) -> int:
        return sum(self.totals().workers.values())

    @_reachable
    def served_models(self) -> dict[str, ServedModel]:
        served: dict[str, ServedModel] = {}
        for slots, expires, models in self._workers.values():
            for name, cost in models.items() if expires > self._clock() else ():
                known = served.get(name, ServedModel(cost=cost))
                served[name] = replace(known, slots=known.slots + slots)
        return served

    @_reachable
    def workload(self) -> dict[str, Workload]:
        found: dict[str, Workload] = {}
        for record in filter(attrgetter("active"), self._jobs.values()):
            known, model = found.get(record.job.model, Workload()), record.job.model
            found[model] = Workload(images=known.images + record.unfinished, work=known.work + record.work)
        return {
            model: replace(each, work=round(each.work, 6)) for model, each in found.items() if each.images
        }

    @_reachable
    def pending_chunks(self, chunk: int, *, at_most: int, model: str = MIDAS_SMALL.name) -> int:
        self._update_queues()
        active = [r for r in self._jobs.values() if self._has_work(r) and r.job.model == model]
        chunks = (len(r.due(self._clock())) + math.ceil(len(r.fresh()) / r.chunk_size(chunk)) for r in active)
        return min(sum(chunks), at_most)

    @_reachable
    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        holder, expires = self._locks.get(name, (owner, 0.0))
        if holder != owner and expires > self._clock():
            return False
        self._locks[name] = (owner, self._clock() + seconds)
        return seconds > 0

    @_reachable
    def ping(self) -> None: ...

    def holds(self, lease: Lease) -> bool:
        """Return whether a lease is still held; for tests only."""
        return lease.id in self._leases

    def held(self) -> tuple[str, ...]:
        """Return the leases that are held, the oldest first; for tests only."""
        return tuple(self._leases)

    # --- steps ---

    def _find(self, job_id: str) -> JobRecord:
        if job_id not in self._jobs:
            raise JobNotFound
        return self._jobs[job_id]

    def _record(self, job: Job) -> JobRecord:
        phase = Phase.MEASURE if job.options.normalize is Normalize.JOB else Phase.RENDER
        record = JobRecord(job=job, state=job.state, phase=phase, total=job.counts.total, error=job.error)
        record.begin_events(self._clock())
        self._jobs[job.id] = record
        return record

    def _age(self, job_id: str) -> tuple[int, str]:
        return int(self._jobs[job_id].job.created_at * 1_000_000), job_id

    def _check_room(self, owner: str, images: int, size: int, quota: Quota) -> None:
        if self.full:
            raise JobStoreFull
        self._check_quota(owner, images, size, quota)

    def _check_quota(self, owner: str, images: int, size: int, quota: Quota) -> None:
        own = [record for record in self._jobs.values() if record.job.owner == owner]
        wanted = {
            "images": (sum(record.unfinished for record in self._jobs.values()), images, quota.images),
            "owner_images": (sum(record.unfinished for record in own), images, quota.owner_images),
            "owner_bytes": (sum(record.kept_bytes for record in own), size, quota.owner_bytes),
        }
        for name, (used, added, bound) in wanted.items():
            if bound is not None and added > 0 and used + added > bound:
                raise quota_error(name, used, added, bound)

    def _request(self, verb: str, job_id: str) -> Job:
        record = self._find(job_id)
        if record.state in TRANSITIONS[verb]:
            record.state = TRANSITIONS[verb][record.state]
            self._settle(job_id)
        elif record.state not in ALREADY[verb]:
            raise refusal(verb, record.state)
        return self.get(job_id)

    def _has_work(self, record: JobRecord) -> bool:
        return record.state.runs and bool(record.due(self._clock()) or record.fresh())

    def _update_queues(self) -> None:
        for record in self._jobs.values():
            self._fair_queues.update(record.job, self._has_work(record))

    def _settle(self, job_id: str) -> None:
        record = self._jobs[job_id]
        if record.open and len(record.succeeded) + len(record.failed) == record.total:
            record.state = JobState.FINALIZING
        elif record.open and record.phase is Phase.MEASURE and len(record.done) == record.total:
            record.phase, record.cursor = Phase.RENDER, 0
        canceled = record.state is JobState.CANCELING and not record.held
        if (canceled or record.state is JobState.FINALIZING) and job_id not in self._finalize:
            self._finalize[job_id] = self._clock()
            record.ending = max(int(self._clock() * 1000), record.ending + 1)
        self._fair_queues.update(record.job, self._has_work(record))
        record.append_state_event(self._clock())

    def _take(self, record: JobRecord, limit: int) -> Sequence[int]:
        if due := record.due(self._clock()):
            del record.retries[due[0]]
            return due[:1]
        indices = record.fresh()[: record.chunk_size(limit)]
        record.cursor = indices[-1] + 1
        return indices

    def _hold(self, job_id: str, indices: Sequence[int]) -> Lease:
        record, lease_id = self._jobs[job_id], secrets.token_hex(12)
        expires = self._clock() + self._lease_seconds
        self._leases[lease_id] = LeaseRecord(job_id=job_id, images=set(indices), expires=expires)
        record.held.update(dict.fromkeys(indices, lease_id))
        self._settle(job_id)
        self._update_queues()
        return Lease(
            id=lease_id,
            job_id=job_id,
            indices=tuple(indices),
            options=record.job.options,
            phase=record.phase,
            range=record.range(),
            cost=record.cost,
            traceparent=record.job.traceparent,
            attempts=tuple(record.attempts.get(index, 0) for index in indices),
            owners=max(1, self._fair_queues.owners(record.job)),
        )

    def _end(
        self, lease: Lease, index: int, phase: Phase, end: Callable[[JobRecord], None]
    ) -> JobState | None:
        if (record := self._jobs.get(lease.job_id)) is None:
            return None
        was_held = lease.id in self._leases
        if record.phase is phase and record.takes_outcomes and index not in record.done:
            self._release(record, index)
            end(record)
            self._settle(lease.job_id)
        return self._answer(lease.id, record) if was_held else None

    def _answer(self, lease_id: str, record: JobRecord) -> JobState:
        if lease_id in self._leases:
            self._leases[lease_id].expires = self._clock() + self._lease_seconds
        return record.state

    def _release(self, record: JobRecord, index: int) -> None:
        record.retries.pop(index, None)
        if (lease_id := record.held.pop(index, None)) is None:
            return
        lease = self._leases[lease_id]
        lease.images.remove(index)
        if not lease.images:
            del self._leases[lease_id]

    def _drop_leases(self, record: JobRecord) -> None:
        for lease_id in set(record.held.values()):
            del self._leases[lease_id]
        record.held.clear()

    def _return_images(self, record: JobRecord, lease: LeaseRecord) -> None:
        for index in lease.images:
            del record.held[index]
            record.retries[index] = self._clock()

    def _end_image(self, record: JobRecord, index: int, failure: ImageFailure | None) -> None:
        if failure is None:
            record.succeeded.add(index)
        else:
            record.failed[index] = failure
        record.retries.pop(index, None)
        record.end_times.append(self._clock())
        record.append_event("failed" if failure else "succeeded", index)
        self._outcomes[failure.code if failure else "succeeded"] += 1

    def _charge_attempt(self, record: JobRecord, index: int, failure: ImageFailure) -> None:
        attempts = record.attempts[index] = record.attempts.get(index, 0) + 1
        if attempts >= self._max_attempts:
            self._end_image(record, index, failure)
            self._unwritten[record.job.id, index] = self._clock()
        else:
            delay = self._retry_delays[min(attempts, len(self._retry_delays)) - 1]
            record.retries[index] = self._clock() + delay
            record.append_event("pending", index)

    def _end_job(self, record: JobRecord, state: JobState, ended_at: float | None) -> None:
        self._drop_leases(record)
        self._finalize.pop(record.job.id, None)
        record.retries.clear()
        record.attempts.clear()
        record.state = state
        record.ended_at = record.ended_at or ended_at or self._clock()
        record.restored_end = ended_at
        self._settle(record.job.id)

    def _known(self, job: Job) -> JobRecord | None:
        """Return the record of a job that is to be restored; None if it has ended."""
        if (record := self._jobs.get(job.id)) is None:
            record = self._record(job)
            record.started_at = job.started_at
            if job.state.ended:
                record.ended_at, record.restored_end = job.ended_at or self._clock(), job.ended_at
            record.append_state_event(self._clock())
            return record
        if record.state.ended:
            return None
        self._finalize.pop(job.id, None)
        record.begin_events(self._clock())
        record.append_event(record.state)
        return record

    def _skip_measuring(self, record: JobRecord, common: Range) -> None:
        self._drop_leases(record)
        record.retries.clear()
        record.phase, record.cursor, record.common = Phase.RENDER, 0, common

    def _add_outcomes(
        self, record: JobRecord, outcomes: Iterable[tuple[int, ImageFailure | None]], *, ended: bool
    ) -> None:
        done = record.done
        for index, failure in outcomes:
            left_out = failure is None and record.phase is Phase.MEASURE and not ended
            if index >= record.total or index in done or left_out:
                continue
            done.add(index)
            self._release(record, index)
            if failure is None:
                record.succeeded.add(index)
            else:
                record.failed[index] = failure
