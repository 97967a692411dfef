"""In-memory implementations of the ports, for unit tests; the contract tests hold them to the real ones."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import islice
from threading import Lock, RLock
from time import time
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from shared.errors import (
    InvalidTransition,
    JobNotFound,
    JobStoreUnavailable,
    ObjectExists,
    ObjectNotFound,
    ObjectStoreUnavailable,
    RequestError,
    WorkerCrashed,
)
from shared.jobs import (
    ALREADY,
    TRANSITIONS,
    Counts,
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
from shared.ports import ObjectInfo


class FakeObjectStore:
    """Objects in a dictionary.

    With `away` set every call raises ObjectStoreUnavailable, as if S3 were down.
    """

    def __init__(self, *, public_url: str | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self.away = False
        self._public_url = public_url
        self._lock = Lock()

    def put(
        self,
        key: str,
        data: bytes | memoryview,
        *,
        content_type: str = "application/octet-stream",
        only_if_new: bool = False,
    ) -> None:
        self.ping()
        with self._lock:
            if only_if_new and key in self.objects:
                raise ObjectExists
            self.objects[key] = bytes(data)
            self.content_types[key] = content_type

    def put_stream(
        self, key: str, stream: BinaryIO, *, content_type: str = "application/octet-stream"
    ) -> None:
        self.put(key, stream.read(), content_type=content_type)

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        if min(start or 0, stop or 0) < 0:
            raise ValueError("A range of bytes cannot begin or end below zero.")
        return self._read(key)[start:stop]

    def stream(self, key: str, *, chunk_size: int = 256 * 1024) -> Iterator[bytes]:
        data = self._read(key)
        return (data[at : at + chunk_size] for at in range(0, len(data), chunk_size))

    def size(self, key: str) -> int:
        return len(self._read(key))

    def exists(self, key: str) -> bool:
        self.ping()
        return key in self.objects

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.ping()
        with self._lock:
            found = [(key, len(data)) for key, data in self.objects.items() if key.startswith(prefix)]
        for key, size in sorted(found, key=lambda pair: pair[0].encode()):
            yield ObjectInfo(key=key, size=size)

    def delete(self, key: str) -> None:
        self.ping()
        with self._lock:
            self.objects.pop(key, None)

    def delete_prefix(self, prefix: str) -> int:
        if not prefix:
            raise ValueError("An empty prefix would delete everything.")
        keys = [entry.key for entry in self.list(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        names = {"name": file_name, "type": content_type}
        query = "&".join(f"{name}={quote(value)}" for name, value in names.items() if value is not None)
        return self._public(key, f"{query}&signature=get")

    def presigned_put(self, key: str) -> str | None:
        return self._public(key, "signature=put")

    def ensure_bucket(self) -> None:
        self.ping()

    def ping(self) -> None:
        if self.away:
            raise ObjectStoreUnavailable

    def _read(self, key: str) -> bytes:
        self.ping()
        with self._lock:
            if key not in self.objects:
                raise ObjectNotFound
            return self.objects[key]

    def _public(self, key: str, query: str) -> str | None:
        return f"{self._public_url}/{quote(key)}?{query}" if self._public_url else None


class FakeTickets:
    """Counts the tickets published. With `away` set every call raises JobStoreUnavailable."""

    def __init__(self) -> None:
        self.waiting = 0
        self.away = False

    def publish(self, count: int) -> None:
        if self.away:
            raise JobStoreUnavailable
        self.waiting += count

    def depth(self) -> int:
        if self.away:
            raise JobStoreUnavailable
        return self.waiting


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(kw_only=True)
class _Job:
    """A job as a plain model: sets and dictionaries of its images."""

    job: Job
    state: JobState
    phase: Phase
    succeeded: set[int] = field(default_factory=set)
    failed: dict[int, ImageFailure] = field(default_factory=dict)
    measured: dict[int, Range] = field(default_factory=dict)
    #: Image -> the lease it is in; image -> when it is due again; image -> attempts charged.
    held: dict[int, str] = field(default_factory=dict)
    retries: dict[int, float] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    end_times: list[float] = field(default_factory=list)
    cursor: int = 0
    virtual: float = 0.0
    active: bool = False
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def open(self) -> bool:
        return self.state.runs or self.state is JobState.PAUSED

    @property
    def takes_outcomes(self) -> bool:
        return self.open or (self.state is JobState.CANCELING and bool(self.held))

    @property
    def behind(self) -> set[int]:
        """Images the present phase has nothing more to do for."""
        passed = self.measured if self.phase is Phase.MEASURE else ()
        return self.succeeded | self.failed.keys() | set(passed)

    def fresh(self) -> list[int]:
        behind = self.behind
        return [index for index in range(self.cursor, self.job.counts.total) if index not in behind]

    def due(self, now: float) -> list[int]:
        due = [index for index, time in self.retries.items() if time <= now]
        return sorted(due, key=lambda index: (self.retries[index], str(index)))

    def range(self) -> Range | None:
        if self.phase is Phase.MEASURE or not self.measured:
            return None
        ranges = self.measured.values()
        return Range(low=min(r.low for r in ranges), high=max(r.high for r in ranges))


@dataclass(kw_only=True)
class _Lease:
    job_id: str
    images: set[int]
    expires: float
    hand: int | None = None


P = ParamSpec("P")
T = TypeVar("T")


def _reachable(
    method: Callable[Concatenate[FakeJobStore, P], T],
) -> Callable[Concatenate[FakeJobStore, P], T]:
    """Run a method of the job store under its lock, or raise while the store is `away`."""

    @wraps(method)
    def call(self: FakeJobStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.away:
            raise JobStoreUnavailable
        with self._lock:
            return method(self, *args, **kwargs)

    return call


class FakeJobStore:
    """Jobs in dictionaries, by a clock that tests may set.

    With `away` set every call raises JobStoreUnavailable, as if Redis were down.
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
        self.away = False
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._retry_delays = retry_delays
        self._claim_seconds = claim_seconds
        self._worker_seconds = worker_seconds
        self._jobs: dict[str, _Job] = {}
        self._leases: dict[str, _Lease] = {}
        self._finalize: dict[str, float] = {}
        self._workers: dict[str, tuple[int, float]] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._virtual_clock = 0.0
        self._lock = RLock()

    # --- what clients do ---

    @_reachable
    def create(self, job: Job) -> None:
        if job.state not in (JobState.UPLOADING, JobState.QUEUED):
            raise ValueError(f"A new job is uploading or queued, not {job.state}.")
        if not is_job_id(job.id) or not 0 < job.weight < math.inf:
            raise ValueError("A new job needs a job id and a positive weight.")
        if job.id not in self._jobs:
            phase = Phase.MEASURE if job.options.normalize == "job" else Phase.RENDER
            self._jobs[job.id] = _Job(job=job, state=job.state, phase=phase)
            self._settle(job.id)

    @_reachable
    def start(self, job_id: str) -> Job:
        return self._request("start", job_id)

    @_reachable
    def get(self, job_id: str) -> Job:
        record = self._find(job_id)
        return replace(
            record.job,
            state=record.state,
            phase=record.phase,
            counts=Counts(
                total=record.job.counts.total,
                succeeded=len(record.succeeded),
                failed=len(record.failed),
                measured=len(record.measured),
            ),
            started_at=record.started_at,
            ended_at=record.ended_at,
            images_per_second=self._rate(record),
        )

    @_reachable
    def list(self, *, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        ids = sorted(self._jobs, key=self._age, reverse=True)
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
        statuses = (self._status(record, index) for index in range(cursor, record.job.counts.total))
        found = tuple(islice((s for s in statuses if state in (None, s.state)), limit + 1))
        more = str(found[limit].index) if len(found) > limit else None
        return Page(items=found[:limit], next_cursor=more)

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
        if record.state in TRANSITIONS["retry"]:
            record.failed.clear()
            record.attempts.clear()
            record.cursor = 0
            record.ended_at = None
        return self._request("retry", job_id)

    @_reachable
    def delete(self, job_id: str) -> None:
        if job_id in self._jobs:
            for lease in set(self._jobs.pop(job_id).held.values()):
                del self._leases[lease]
            self._finalize.pop(job_id, None)

    # --- what workers do ---

    @_reachable
    def lease(self, worker: str, *, limit: int) -> Lease | None:
        if limit < 1:
            raise ValueError("A lease has at least one image.")
        self._place_all()
        active = [(record.virtual, id) for id, record in self._jobs.items() if record.active]
        if not active:
            return None
        started, job_id = min(active)
        record = self._jobs[job_id]
        indices = self._take(record, limit)
        self._virtual_clock = started
        record.virtual = started + len(indices) / record.job.weight
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
        _check_image(lease, index)
        if not (math.isfinite(measured.low) and math.isfinite(measured.high)):
            raise ValueError("A range has finite ends.")
        return self._end(
            lease, index, Phase.MEASURE, lambda record: record.measured.update({index: measured})
        )

    @_reachable
    def done(self, lease: Lease, index: int, *, failure: ImageFailure | None = None) -> JobState | None:
        _check_image(lease, index)
        if lease.phase is Phase.MEASURE and failure is None:
            raise ValueError("An image that was only measured is not done.")
        return self._end(lease, index, lease.phase, lambda record: self._end_image(record, index, failure))

    @_reachable
    def charge(self, lease: Lease, index: int, failure: ImageFailure) -> JobState | None:
        _check_image(lease, index)
        if (held := self._leases.get(lease.id)) is None:
            return None
        record = self._jobs[held.job_id]
        if index in held.images:
            self._release(record, index)
            self._charge_attempt(record, index, failure)
            self._settle(held.job_id)
        return self._answer(lease.id, record)

    @_reachable
    def give_back(self, lease: Lease) -> None:
        if (held := self._leases.pop(lease.id, None)) is not None:
            self._return_images(self._jobs[held.job_id], held)
            self._settle(held.job_id)

    # --- what keeps house ---

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
    def claim_finalize(self) -> str | None:
        now = self._clock()
        waiting = sorted((due, id) for id, due in self._finalize.items() if due <= now)
        if not waiting:
            return None
        _, job_id = waiting[0]
        self._finalize[job_id] = now + self._claim_seconds
        return job_id

    @_reachable
    def finish(self, job_id: str, state: JobState) -> None:
        if not state.ended:
            raise ValueError(f"A job does not end as {state}.")
        record = self._find(job_id)
        if record.state is state:
            return
        if job_id not in self._finalize:
            raise InvalidTransition
        del self._finalize[job_id]
        record.state, record.ended_at = state, self._clock()
        record.retries.clear()
        record.attempts.clear()

    @_reachable
    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        record = self._find(job_id)
        return iter([self._status(record, index) for index in sorted(record.failed)])

    @_reachable
    def register_worker(self, worker: str, slots: int) -> None:
        self._workers[worker] = (slots, self._clock() + self._worker_seconds)

    @_reachable
    def forget_worker(self, worker: str) -> None:
        self._workers.pop(worker, None)

    @_reachable
    def slots(self) -> int:
        return sum(slots for slots, expires in self._workers.values() if expires > self._clock())

    @_reachable
    def pending_chunks(self, chunk: int, *, at_most: int) -> int:
        self._place_all()
        active = [record for record in self._jobs.values() if record.active]
        chunks = (len(r.due(self._clock())) + math.ceil(len(r.fresh()) / chunk) for r in active)
        return min(sum(chunks), at_most)

    @_reachable
    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        holder, expires = self._locks.get(name, (owner, 0.0))
        if holder != owner and expires > self._clock():
            return False
        self._locks[name] = (owner, self._clock() + seconds)
        return True

    @_reachable
    def ping(self) -> None: ...

    def holds(self, lease: Lease) -> bool:
        """Return whether a lease is still held; for tests to look at."""
        return lease.id in self._leases

    # --- steps ---

    def _find(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise JobNotFound
        return self._jobs[job_id]

    def _age(self, job_id: str) -> tuple[int, str]:
        return int(self._jobs[job_id].job.created_at * 1_000_000), job_id

    def _rate(self, record: _Job) -> float | None:
        recent = [end for end in record.end_times if end > self._clock() - 30]
        if record.state.ended or not recent:
            return None
        return len(recent) / max(self._clock() - max(min(recent), record.started_at or 0), 1.0)

    def _status(self, record: _Job, index: int) -> ImageStatus:
        if index in record.succeeded:
            return ImageStatus(index=index, state=ImageState.SUCCEEDED)
        if index in record.failed:
            return ImageStatus(index=index, state=ImageState.FAILED, failure=record.failed[index])
        if record.state.ended:
            return ImageStatus(index=index, state=ImageState.CANCELED)
        state = ImageState.PROCESSING if index in record.held else ImageState.PENDING
        return ImageStatus(index=index, state=state)

    def _request(self, verb: str, job_id: str) -> Job:
        record = self._find(job_id)
        if record.state in TRANSITIONS[verb]:
            record.state = TRANSITIONS[verb][record.state]
            self._settle(job_id)
        elif record.state not in ALREADY[verb]:
            raise refusal(verb, record.state)
        return self.get(job_id)

    def _place_all(self) -> None:
        for record in self._jobs.values():
            self._place(record)

    def _place(self, record: _Job) -> None:
        """Make a job active if it has something to lease now: it joins at the clock, never behind it."""
        has_work = record.state.runs and bool(record.due(self._clock()) or record.fresh())
        if has_work and not record.active:
            record.virtual = max(record.virtual, self._virtual_clock)
        record.active = has_work

    def _settle(self, job_id: str) -> None:
        record = self._jobs[job_id]
        total = record.job.counts.total
        if record.open and len(record.succeeded) + len(record.failed) == total:
            record.state = JobState.FINALIZING
            self._finalize.setdefault(job_id, self._clock())
        elif record.open and record.phase is Phase.MEASURE and len(record.behind) == total:
            record.phase, record.cursor = Phase.RENDER, 0
        elif record.state is JobState.CANCELING and not record.held:
            self._finalize.setdefault(job_id, self._clock())
        self._place(record)

    def _take(self, record: _Job, limit: int) -> Sequence[int]:
        if due := record.due(self._clock()):
            del record.retries[due[0]]
            return due[:1]
        indices = record.fresh()[:limit]
        record.cursor = indices[-1] + 1
        return indices

    def _hold(self, job_id: str, indices: Sequence[int]) -> Lease:
        record, lease_id = self._jobs[job_id], secrets.token_hex(12)
        expires = self._clock() + self._lease_seconds
        self._leases[lease_id] = _Lease(job_id=job_id, images=set(indices), expires=expires)
        record.held.update(dict.fromkeys(indices, lease_id))
        self._settle(job_id)
        return Lease(
            id=lease_id,
            job_id=job_id,
            indices=tuple(indices),
            options=record.job.options,
            phase=record.phase,
            range=record.range(),
        )

    def _end(self, lease: Lease, index: int, phase: Phase, end: Callable[[_Job], None]) -> JobState | None:
        if (record := self._jobs.get(lease.job_id)) is None:
            return None
        was_held = lease.id in self._leases
        if record.phase is phase and record.takes_outcomes and index not in record.behind:
            self._release(record, index)
            end(record)
            self._settle(lease.job_id)
        return self._answer(lease.id, record) if was_held else None

    def _answer(self, lease_id: str, record: _Job) -> JobState:
        if lease_id in self._leases:
            self._leases[lease_id].expires = self._clock() + self._lease_seconds
        return record.state

    def _release(self, record: _Job, index: int) -> None:
        record.retries.pop(index, None)
        if (lease_id := record.held.pop(index, None)) is None:
            return
        lease = self._leases[lease_id]
        lease.images.remove(index)
        if not lease.images:
            del self._leases[lease_id]

    def _return_images(self, record: _Job, lease: _Lease) -> None:
        for index in lease.images:
            del record.held[index]
            record.retries[index] = self._clock()

    def _end_image(self, record: _Job, index: int, failure: ImageFailure | None) -> None:
        if failure is None:
            record.succeeded.add(index)
        else:
            record.failed[index] = failure
        record.retries.pop(index, None)
        record.end_times.append(self._clock())

    def _charge_attempt(self, record: _Job, index: int, failure: ImageFailure) -> None:
        attempts = record.attempts[index] = record.attempts.get(index, 0) + 1
        if attempts >= self._max_attempts:
            self._end_image(record, index, failure)
        else:
            delay = self._retry_delays[min(attempts, len(self._retry_delays)) - 1]
            record.retries[index] = self._clock() + delay


def _check_image(lease: Lease, index: int) -> None:
    if index not in lease.indices:
        raise ValueError(f"Image {index} is not in this lease.")
