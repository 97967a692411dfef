"""Jobs, images and leases: the words both sides use, and the one table of job states."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from shared.errors import InvalidTransition
from shared.options import Options

_ID = re.compile(r"[a-z2-7]{26}\Z")
T = TypeVar("T")

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class JobState(StrEnum):
    """Where a job stands. The last five are ends."""

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
        """True while its images are handed to workers."""
        return self in (JobState.QUEUED, JobState.PROCESSING)


ENDS = frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})

#: Every change of state there is: what causes it, from where, to where. The Lua
#: scripts carry these out; a test holds the two together.
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
}

#: Where a verb of a client has nothing left to do: asking again is no error.
ALREADY: dict[str, frozenset[JobState]] = {
    "start": frozenset({JobState.QUEUED, JobState.PROCESSING}),
    "pause": frozenset({JobState.PAUSED}),
    "resume": frozenset({JobState.QUEUED, JobState.PROCESSING}),
    "cancel": frozenset({JobState.CANCELING, JobState.CANCELED}),
    "retry": frozenset({JobState.QUEUED, JobState.PROCESSING}),
}


def refusal(verb: str, state: JobState) -> InvalidTransition:
    """Return the error for a verb that a job's state does not allow."""
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

    A job normalised as a whole goes over its images twice: once to measure the
    range of each, once to render them over the common range.
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
    """Images of a job by outcome; `pending` is what has not ended."""

    total: int
    succeeded: int = 0
    failed: int = 0
    #: Images measured in the first of two passes (normalize=job); 0 otherwise.
    measured: int = 0

    @property
    def pending(self) -> int:
        return self.total - self.succeeded - self.failed


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the job store holds it. Times are seconds since the epoch, by the store's clock."""

    id: str
    state: JobState
    options: Options
    counts: Counts
    created_at: float
    phase: Phase = Phase.RENDER
    started_at: float | None = None
    ended_at: float | None = None
    #: Images ended in the last seconds, per second; None while nothing is known.
    images_per_second: float | None = None
    #: Jobs share the workers in proportion to their weights.
    weight: float = 1.0

    @property
    def progress(self) -> float:
        """The share of the work that is done, 0 to 1."""
        if self.counts.total == 0 or self.state.ended:
            return 1.0
        ended = self.counts.succeeded + self.counts.failed
        if self.options.normalize == "job":
            # The first pass is half of the work; images that failed in it need no second.
            first = min(self.counts.measured + self.counts.failed, self.counts.total)
            return (first + ended) / (2 * self.counts.total)
        return ended / self.counts.total

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last image at the present rate; None while it does not run."""
        if not self.images_per_second or not self.state.runs:
            return None
        return self.counts.pending / self.images_per_second


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
    """Images of one job, in one worker's hands until the lease expires."""

    id: str
    job_id: str
    indices: tuple[int, ...]
    options: Options
    phase: Phase = Phase.RENDER
    #: The job's common range, when normalised as a whole and measured.
    range: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One line of a manifest: where image `index` comes from and what its owner calls it."""

    index: int
    #: As given, in any script, possibly with folders; data, never a path.
    name: str
    #: Bytes; None when not known beforehand.
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a list, and the cursor that continues it; None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None = field(default=None)
