"""The job records and the fair queue of the in-memory job store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from shared.jobs.job import (
    Counts,
    ImageFailure,
    ImageState,
    ImageStatus,
    Job,
    JobEvent,
    JobState,
    Phase,
    Range,
)

#: The number of events kept of a job, and for how many seconds after its end.
EVENTS_KEPT, EVENTS_SECONDS = 1000, 3600.0


class FakeClock:
    """A clock that only advances when a test advances it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(kw_only=True)
class JobRecord:
    """A job as sets and dictionaries of its images."""

    job: Job
    state: JobState
    phase: Phase
    total: int
    succeeded: set[int] = field(default_factory=set)
    failed: dict[int, ImageFailure] = field(default_factory=dict)
    measured: dict[int, Range] = field(default_factory=dict)
    #: The common range with which it was restored.
    common: Range | None = None
    #: By image: the lease that holds it, the time of its retry, and the number of charged attempts.
    held: dict[int, str] = field(default_factory=dict)
    retries: dict[int, float] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    end_times: list[float] = field(default_factory=list)
    cursor: int = 0
    #: The number of its last end (see FinalizeClaim).
    ending: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    error: ImageFailure | None = None
    #: The restored time of its end, if there is one.
    restored_end: float | None = None
    #: The state in its last state event, and the time of that event.
    last_state: JobState | None = None
    last_state_at: float = 0.0
    events: list[JobEvent] = field(default_factory=list)
    events_from: int = 0
    last_event: int = 0

    @property
    def open(self) -> bool:
        return self.state.runs or self.state is JobState.PAUSED

    @property
    def takes_outcomes(self) -> bool:
        return self.open or (self.state is JobState.CANCELING and bool(self.held))

    @property
    def unfinished(self) -> int:
        """Images that count against a quota."""
        waits = self.open or self.state is JobState.UPLOADING
        return self.total - len(self.succeeded) - len(self.failed) if waits else 0

    @property
    def active(self) -> bool:
        """Whether there is work for workers, now or once its images are gathered."""
        return self.state.runs or (self.state is JobState.UPLOADING and self.job.gathered)

    @property
    def work(self) -> float:
        """What its unfinished images cost in all passes to come."""
        measuring = self.total - len(self.done) if self.phase is Phase.MEASURE else 0
        return measuring * self.job.cost.measure + self.unfinished * self.job.cost.render

    @property
    def kept_bytes(self) -> int:
        return 0 if self.state is JobState.EXPIRED else self.job.bytes

    @property
    def expires(self) -> bool:
        """Whether the job can expire when it has been idle for long."""
        ended = self.state.ended and self.state is not JobState.EXPIRED
        return ended or self.state in (JobState.UPLOADING, JobState.PAUSED)

    @property
    def idle_since(self) -> float:
        return self.last_state_at if self.restored_end is None or not self.state.ended else self.restored_end

    @property
    def done(self) -> set[int]:
        """Images that the current phase has finished."""
        passed = self.measured if self.phase is Phase.MEASURE else ()
        return self.succeeded | self.failed.keys() | set(passed)

    @property
    def cost(self) -> float:
        """What an image costs in the present phase."""
        return self.job.cost.of(self.phase)

    def chunk_size(self, limit: int) -> int:
        return max(1, int(limit / max(1.0, self.cost)))

    def fresh(self) -> list[int]:
        done = self.done
        return [index for index in range(self.cursor, self.total) if index not in done]

    def due(self, now: float) -> list[int]:
        due = [index for index, time in self.retries.items() if time <= now]
        return sorted(due, key=lambda index: (self.retries[index], str(index)))

    def range(self) -> Range | None:
        if self.phase is Phase.MEASURE or not (self.measured or self.common):
            return None
        ranges = [self.common] if self.common else list(self.measured.values())
        return Range(low=min(r.low for r in ranges), high=max(r.high for r in ranges))

    def snapshot(self, counts: Counts, now: float) -> Job:
        return replace(
            self.job,
            state=self.state,
            phase=self.phase,
            counts=counts,
            started_at=self.started_at,
            ended_at=self.ended_at,
            images_per_second=self.rate(now),
            error=self.error,
        )

    def rate(self, now: float) -> float | None:
        recent = [end for end in self.end_times if end > now - 30]
        if self.state.ended or not recent:
            return None
        return len(recent) / max(now - max(min(recent), self.started_at or 0), 1.0)

    def status(self, index: int) -> ImageStatus:
        if index in self.succeeded:
            return ImageStatus(index=index, state=ImageState.SUCCEEDED)
        if index in self.failed:
            return ImageStatus(index=index, state=ImageState.FAILED, failure=self.failed[index])
        if self.state.ended:
            return ImageStatus(index=index, state=ImageState.CANCELED)
        state = ImageState.PROCESSING if index in self.held else ImageState.PENDING
        return ImageStatus(index=index, state=state)

    def indices(self) -> Iterable[int]:
        return range(0 if self.state is JobState.EXPIRED else self.total)

    # --- events ---

    def begin_events(self, now: float) -> None:
        self.events.clear()
        self.events_from = self.last_event = int(now * 1000) * 1000

    def append_event(self, state: str, index: int | None = None) -> None:
        self.last_event += 1
        self.events.append(JobEvent(id=str(self.last_event), state=state, index=index))
        del self.events[:-EVENTS_KEPT]

    def append_state_event(self, now: float) -> None:
        """Append an event for the state of the job, if the state has changed."""
        if self.state is not self.last_state:
            if self._events_ran_out(now):
                self.events.clear()
            self.append_event(self.state)
            self.last_state, self.last_state_at = self.state, now

    def events_after(self, number: int, now: float) -> list[JobEvent]:
        if self._events_ran_out(now):
            return []
        return [event for event in self.events if int(event.id) > number]

    def _events_ran_out(self, now: float) -> bool:
        return (
            self.last_state is not None
            and self.last_state.ended
            and now > self.last_state_at + EVENTS_SECONDS
        )


@dataclass(kw_only=True)
class LeaseRecord:
    job_id: str
    images: set[int]
    expires: float
    hand: int | None = None


@dataclass(kw_only=True)
class FairQueue:
    """Names that wait to be served, by virtual time. A newcomer joins at the current virtual time."""

    clock: float = 0.0
    virtual: dict[str, float] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def join(self, name: str) -> None:
        if name not in self.waiting:
            self.virtual[name] = max(self.virtual.get(name, 0.0), self.clock)
            self.waiting.add(name)

    def leave(self, name: str) -> None:
        self.waiting.discard(name)

    def first(self) -> str:
        return min(self.waiting, key=lambda name: (self.virtual[name], name))

    def serve(self, name: str, cost: float) -> None:
        self.clock = self.virtual[name]
        self.virtual[name] += cost

    def forget(self, name: str) -> None:
        self.leave(name)
        self.virtual.pop(name, None)


#: Whether jobs are urgent, and their network.
Lane = tuple[bool, str]


def lane_of(job: Job) -> Lane:
    return job.urgent, job.model


class FairQueues:
    """For each lane, the queue of owners and each owner's queue of jobs."""

    def __init__(self) -> None:
        self._owners: defaultdict[Lane, FairQueue] = defaultdict(FairQueue)
        self._jobs: defaultdict[tuple[Lane, str], FairQueue] = defaultdict(FairQueue)

    def update(self, job: Job, has_work: bool) -> None:
        """Let a job join its queue, or leave it."""
        owners, jobs = self._owners[lane_of(job)], self._queue_of(job)
        if has_work:
            jobs.join(job.id)
            owners.join(job.owner)
            return
        jobs.leave(job.id)
        if not jobs.waiting:
            owners.leave(job.owner)

    def next(self, models: Iterable[str]) -> str | None:
        """Return the job whose turn it is, of the first of these networks that has any."""
        for lane in [(urgent, model) for urgent in (True, False) for model in models]:
            if self._owners[lane].waiting:
                return self._jobs[lane, self._owners[lane].first()].first()
        return None

    def owners(self, job: Job) -> int:
        """Return how many owners wait for a job's network with jobs that are not urgent."""
        return len(self._owners[False, job.model].waiting)

    def serve(self, job: Job, cost: float) -> None:
        """Note that a job was handed images that cost so much together."""
        self._owners[lane_of(job)].serve(job.owner, cost)
        self._queue_of(job).serve(job.id, cost / job.weight)

    def forget_job(self, job: Job) -> None:
        self.update(job, has_work=False)
        self._queue_of(job).forget(job.id)

    def forget_owner(self, owner: str) -> None:
        for lane, owners in self._owners.items():
            owners.forget(owner)
            self._jobs.pop((lane, owner), None)

    def _queue_of(self, job: Job) -> FairQueue:
        return self._jobs[lane_of(job), job.owner]
