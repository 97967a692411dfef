"""What the harness observed during an attack, and the state that it found afterwards.

Nothing here comes from the code under test. A proxy in front of S3 sees the requests, MONITOR shows the
writes of the job store, the attacks note their faults, and the harness reads the final state with its own
clients. All times are of `time.monotonic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: A job and one of its images.
Image = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A process fetched the photo of an image, so it holds the image."""

    at: float
    image: Image
    #: None if the process ended before it could be identified.
    pid: int | None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A process stored the sidecar of an image, the last of its files."""

    at: float
    image: Image
    pid: int | None
    #: False if the response did not reach the process, so that it must send the request again.
    answered: bool = True


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Valkey set the bit of an image in one of the bitmaps `ok` and `bad`."""

    at: float
    image: Image
    outcome: str


class Cause(StrEnum):
    """The kind of a fault."""

    KILL = "kill"
    #: Valkey was killed and restarted from its append-only file.
    RESTART = "restart"
    #: Valkey was emptied.
    FLUSH = "flush"
    #: The traffic to S3 was disturbed.
    S3 = "s3"


@dataclass(frozen=True, kw_only=True)
class InjectedFault:
    """One fault of the attack, with its begin and end."""

    cause: Cause
    began_at: float
    ended_at: float
    #: The processes that it killed.
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class FinalJob:
    """The final state of a job in Valkey and S3."""

    id: str
    total: int
    state: str
    #: The counters of the job's hash.
    succeeded: int
    failed: int
    #: The BITCOUNT of both bitmaps, and their bits, read one by one.
    bitcounts: tuple[int, int]
    succeeded_bits: frozenset[int]
    failed_bits: frozenset[int]
    #: By image, the names of its files in S3 that are not empty.
    outputs: Mapping[int, frozenset[str]]
    #: By image, the SHA-256 of the photo that its sidecar names.
    sources: Mapping[int, str]
    #: The SHA-256 of each photo that was sent.
    photos: tuple[str, ...]
    #: result.json, decoded; None if there is none.
    result: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What is left after all jobs have ended, and after they were deleted."""

    #: By name, the numbers that must be zero once all jobs have ended: tickets, leases, ...
    unfinished: Mapping[str, int]
    #: Slots of living workers, and how many there should be.
    slots: int
    slots_wanted: int
    #: Keys of the jobs in Valkey, and their objects in S3, after they were deleted.
    keys_of_jobs: tuple[str, ...]
    objects_of_jobs: tuple[str, ...]
    #: Bytes of every key in Valkey (MEMORY USAGE), before the jobs and after.
    bytes_before: Mapping[str, int]
    bytes_after: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Everything that was observed in one run."""

    jobs: tuple[FinalJob, ...]
    leftovers: Leftovers
    fetched: tuple[Fetched, ...] = ()
    stored: tuple[Stored, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    faults: tuple[InjectedFault, ...] = ()
    #: The number of planned faults, and of those that were injected; each may cause several InjectedFaults.
    faults_planned: int = 0
    faults_injected: int = 0
    #: Unexpected events while faults were injected.
    anomalies: tuple[str, ...] = ()
    #: Requests to which the proxy answered 503: when they came, and from which process.
    answered_503: tuple[tuple[float, int | None], ...] = ()
    #: Attempts after which an image fails.
    max_attempts: int = 3
    #: By name, the seconds that a step took, and its limit.
    timed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
