"""Jobs, images and leases, as both sides know them, and the one table of job states."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from fathom.options import Options
from shared.errors import InvalidTransition, QuotaExceeded
from shared.networks import MIDAS_SMALL

_ID = re.compile(r"[a-z2-7]{26}\Z")
T = TypeVar("T")

#: Owns all jobs while no API keys are in force.
ANYONE = "anyone"

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class JobState(StrEnum):
    """The state of a job. The last five are ends."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    PROCESSING = "processing"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        return self in ENDS

    @property
    def runs(self) -> bool:
        """Whether workers are handed its images."""
        return self in RUNNING


#: In these states workers are handed its images, and in those its unfinished images count against quotas.
RUNNING = frozenset({JobState.QUEUED, JobState.PROCESSING})
UNFINISHED = RUNNING | {JobState.UPLOADING, JobState.PAUSED}
ENDS = frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})

#: Every change of state: its cause, the state before, the state after. The Lua scripts carry
#: them out, and a test checks that they agree with this table.
TRANSITIONS: dict[str, dict[JobState, JobState]] = {
    "start": {JobState.UPLOADING: JobState.QUEUED},
    "lease": {JobState.QUEUED: JobState.PROCESSING, JobState.PROCESSING: JobState.PROCESSING},
    "pause": {JobState.QUEUED: JobState.PAUSED, JobState.PROCESSING: JobState.PAUSED},
    "resume": {JobState.PAUSED: JobState.QUEUED},
    "cancel": {
        JobState.UPLOADING: JobState.CANCELING,
        JobState.QUEUED: JobState.CANCELING,
        JobState.PROCESSING: JobState.CANCELING,
        JobState.PAUSED: JobState.CANCELING,
    },
    "complete": {
        JobState.QUEUED: JobState.FINALIZING,
        JobState.PROCESSING: JobState.FINALIZING,
        JobState.PAUSED: JobState.FINALIZING,
    },
    "retry": {JobState.PARTIAL: JobState.QUEUED, JobState.FAILED: JobState.QUEUED},
    # The finaliser sees `Job.error` and ends the job as failed.
    "abort": {JobState.UPLOADING: JobState.FINALIZING},
    "expire": {
        JobState.UPLOADING: JobState.EXPIRED,
        JobState.PAUSED: JobState.EXPIRED,
        JobState.SUCCEEDED: JobState.EXPIRED,
        JobState.PARTIAL: JobState.EXPIRED,
        JobState.FAILED: JobState.EXPIRED,
        JobState.CANCELED: JobState.EXPIRED,
    },
}

#: In these states a client's verb has nothing left to do, and asking again is no error.
ALREADY: dict[str, frozenset[JobState]] = {
    "start": frozenset({JobState.QUEUED, JobState.PROCESSING}),
    "pause": frozenset({JobState.PAUSED}),
    "resume": frozenset({JobState.QUEUED, JobState.PROCESSING}),
    "cancel": frozenset({JobState.CANCELING, JobState.CANCELED}),
    "retry": frozenset({JobState.QUEUED, JobState.PROCESSING}),
    # A job that was aborted before is handled apart: it keeps its first reason.
    "abort": frozenset(),
    "expire": frozenset({JobState.EXPIRED}),
}


def refusal(verb: str, state: JobState) -> InvalidTransition:
    """Return the error for a verb that a job's state does not allow."""
    if verb == "retry" and state in TRANSITIONS[verb]:
        return InvalidTransition("The job failed before it had images; there is nothing to retry.")
    allowed = " or ".join(TRANSITIONS[verb])
    return InvalidTransition(f"The job is {state}; {verb} needs a job that is {allowed}.")


class ImageState(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Phase(StrEnum):
    """What is to be done with the images of a lease.

    A job that is normalised as a whole goes over its images twice: first to measure the
    range of each, then to render them all over the common range.
    """

    MEASURE = "measure"
    RENDER = "render"


def new_job_id() -> str:
    """Return 130 random bits as 26 lower-case letters and digits, safe in keys and URLs."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(26))


def is_job_id(text: str) -> bool:
    return _ID.match(text) is not None


@dataclass(frozen=True, kw_only=True)
class Range:
    """An interval of relative inverse depth, low <= high."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A job's images by outcome; those without one are `pending`."""

    total: int
    succeeded: int = 0
    failed: int = 0
    #: Images measured in the first of two passes (normalize=job); 0 otherwise.
    measured: int = 0

    @property
    def pending(self) -> int:
        return self.total - self.succeeded - self.failed


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an image of a job costs in each phase, where an image of a plain heatmap costs 1.

    Jobs that earlier versions recorded cost 1 (`shared.jobs.cost` has the others).
    """

    measure: float = 1.0
    render: float = 1.0

    def of(self, phase: Phase) -> float:
        return self.measure if phase is Phase.MEASURE else self.render


class WebhookEvent(StrEnum):
    """What may call a webhook."""

    ENDED = "job.ended"
    PROGRESS = "job.progress"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """The URL that the owner of a job wants called, and the events that call it."""

    url: str
    events: tuple[WebhookEvent, ...] = (WebhookEvent.ENDED,)

    def to_json(self) -> dict[str, Any]:
        return {"url": self.url, "events": list(self.events)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Webhook:
        return cls(url=data["url"], events=tuple(map(WebhookEvent, data["events"])))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the job store holds it. Times are seconds since the epoch, by the store's clock.

    Only `created_at` comes from the caller, which takes it from `JobStore.now`; it orders the lists.
    """

    id: str
    state: JobState
    options: Options
    counts: Counts
    created_at: float
    phase: Phase = Phase.RENDER
    started_at: float | None = None
    ended_at: float | None = None
    #: Images ended per second, of late; None while that is unknown.
    images_per_second: float | None = None
    #: An owner's jobs share the owner's part of the workers in proportion to their weights.
    weight: float = 1.0
    #: What an image costs: the shares of owners and jobs are counted in it.
    cost: Cost = field(default_factory=Cost)
    #: The id of an API key, or ANYONE while no keys are in force. Owners share the workers
    #: evenly, however many jobs each has.
    owner: str = ANYONE
    #: Bytes of its photos, as far as they are known.
    bytes: int = 0
    #: Urgent jobs are served before all others, because a client waits for the answer.
    urgent: bool = False
    #: Why the whole job failed, if it failed before it had images.
    error: ImageFailure | None = None
    #: What its owner calls it; may be empty.
    title: str = ""
    #: Whether workers gather its images from archives or sources, so that clients upload none.
    gathered: bool = False
    webhook: Webhook | None = None
    #: The W3C traceparent of the request that submitted it; None if that was not traced.
    traceparent: str | None = None

    @property
    def model(self) -> str:
        """The name of its network."""
        return self.options.model or MIDAS_SMALL.name

    @property
    def progress(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        if self.state.ended:
            return 1.0
        if self.counts.total == 0:
            # Its images are still being gathered, and their number is unknown.
            return 0.0
        ended = self.counts.succeeded + self.counts.failed
        if self.options.normalize == "job":
            # Each pass counts by what it costs; images that fail in the first need no second pass.
            measured = self.counts.measured + self.counts.failed
            first = self.counts.total if self.phase is Phase.RENDER else measured
            done = first * self.cost.measure + ended * self.cost.render
            return done / (self.counts.total * (self.cost.measure + self.cost.render))
        return ended / self.counts.total

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last image ends at the present rate; None unless the job runs."""
        if not self.images_per_second or not self.state.runs:
            return None
        return self.counts.pending / self.images_per_second


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Bounds on the images that may be unfinished and the bytes that may be kept; None sets no bound.

    Images count alike, whatever they cost: a quota bounds what is kept, and the fair queue shares the time.
    """

    #: Unfinished images of all owners together.
    images: int | None = None
    #: Unfinished images of the job's owner.
    owner_images: int | None = None
    #: Bytes of the photos of all the owner's jobs, ended ones included.
    owner_bytes: int | None = None


NO_QUOTA = Quota()

_BOUNDS = {
    "images": "This server takes {bound} unfinished images at most, and has {used}.",
    "owner_images": "You may have {bound} unfinished images at most, and have {used}.",
    "owner_bytes": "Your jobs may keep {bound} bytes of photos at most, and keep {used}.",
}


def quota_error(bound_name: str, used: int, added: int, bound: int) -> QuotaExceeded:
    """Return the error for a job that would exceed a bound, which is named as in Quota."""
    what = _BOUNDS[bound_name].format(bound=bound, used=used)
    if added > bound:
        return QuotaExceeded(f"{what} This job alone is more than that: send it in parts.")
    when = "some of them are deleted" if bound_name == "owner_bytes" else "some of them have ended"
    return QuotaExceeded(f"{what} Send this job again when {when}.")


@dataclass(frozen=True, kw_only=True)
class ImageFailure:
    """Why an image failed: a stable code and a sentence for a person."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """An image as the job store knows it; its name is in the manifest."""

    index: int
    state: ImageState
    failure: ImageFailure | None = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Images of one job that one worker holds until the lease expires."""

    id: str
    job_id: str
    indices: tuple[int, ...]
    options: Options
    phase: Phase = Phase.RENDER
    #: The job's common range, if it is normalised as a whole and measured.
    range: Range | None = None
    #: What each of its images costs.
    cost: float = 1.0
    #: That of the job.
    traceparent: str | None = None
    #: Attempts that were charged to its images before, in the order of `indices`.
    attempts: tuple[int, ...] = ()
    #: How many owners' jobs wait for the same network, this one included.
    owners: int = 1

    @property
    def model(self) -> str:
        """The name of the job's network."""
        return self.options.model or MIDAS_SMALL.name


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A network that living workers serve."""

    #: How many times as long a prediction takes as one of the default network.
    cost: float
    #: Children that serve it.
    slots: int = 0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is left to do for the jobs of a network that run, or will once their images are gathered."""

    #: Images that have not ended, those in hand included.
    images: int = 0
    #: What they cost together (`Cost`), in both passes of jobs that are normalised as a whole.
    work: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FinalizeClaim:
    """A job that waits to be finalised and that one caller holds for a while."""

    job_id: str
    #: The number of the end that the job came to; an end after a retry has a greater number.
    number: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """One line of a manifest: where image `index` comes from and what its owner calls it."""

    index: int
    #: As the user gave it: in any script, perhaps with folders. It is data, never a path.
    name: str
    #: Bytes; None if not known beforehand.
    size: int | None = None
    #: Where the photo lies, if it is not among the job's inputs: either `url` or `s3`.
    url: str | None = None
    #: As `s3://bucket/key`.
    s3: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a list, and the cursor for those that follow; None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None = field(default=None)


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """One event of a job: an image ended or is to be tried again, or the job's state changed."""

    #: Given by the store; it orders a job's events, and a client may continue after it.
    id: str
    #: The image's new state, or the job's where `index` is None.
    state: str
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobEvents:
    """The events of a job after a given one, oldest first."""

    events: tuple[JobEvent, ...]
    #: False if some in between are no longer kept: then the caller must read the job again.
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Numbers about all jobs together, for operators."""

    jobs: Mapping[JobState, int]
    #: Unfinished images of unfinished jobs.
    unfinished_images: int
    leases: int
    #: Images ended since the store began, by `succeeded` or the code of their failure.
    outcomes: Mapping[str, int]
    #: The slots of each living worker, by the worker's name.
    workers: Mapping[str, int]
