"""What the harness saw while it attacked a stack, and what it found afterwards.

None of it comes from the code under test: requests are seen by a proxy before S3, the
job store's writes by Valkey's own MONITOR, faults are noted by who injects them, and the
end is read by clients of the harness's own. All times are of `time.monotonic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: A job and one of its images.
Image = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A process read an image's photo: it holds the image."""

    at: float
    image: Image
    #: None if the process was gone before it could be named.
    pid: int | None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A process stored an image's sidecar, the last of its files."""

    at: float
    image: Image
    pid: int | None
    #: False if the store's answer did not reach the process, which then has to ask again.
    answered: bool = True


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Valkey set an image's bit in one of the bitmaps `ok` and `bad`."""

    at: float
    image: Image
    outcome: str


class Cause(StrEnum):
    """The kind of a fault."""

    KILL = "kill"
    #: Valkey was killed, and started again with what its append-only file holds.
    RESTART = "restart"
    #: Valkey was emptied.
    FLUSH = "flush"
    #: The way to S3 was spoilt.
    S3 = "s3"


@dataclass(frozen=True, kw_only=True)
class InjectedFault:
    """One act of the attack, from its beginning to its end."""

    cause: Cause
    began_at: float
    ended_at: float
    #: Processes that it killed.
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class JobFound:
    """A job at the end, as Valkey and S3 hold it."""

    id: str
    total: int
    state: str
    #: The counters of the job's hash.
    succeeded: int
    failed: int
    #: BITCOUNT of the bitmaps, and the bits themselves, read one by one.
    bitcounts: tuple[int, int]
    succeeded_bits: frozenset[int]
    failed_bits: frozenset[int]
    #: By image, the names of its files in S3 that are not empty.
    outputs: Mapping[int, frozenset[str]]
    #: By image, the SHA-256 of the photo that its sidecar speaks of.
    sources: Mapping[int, str]
    #: The SHA-256 of each photo as it was sent.
    photos: tuple[str, ...]
    #: result.json, decoded; None if there is none.
    result: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What is left when every job has ended, and then when every job was deleted."""

    #: By name, what must come to nothing once all jobs have ended: tickets, leases, ...
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
    """All of it."""

    jobs: tuple[JobFound, ...]
    remains: Remains
    fetched: tuple[Fetched, ...] = ()
    stored: tuple[Stored, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    faults: tuple[InjectedFault, ...] = ()
    #: Faults of the attack's plan, and how many were injected; each may cause several InjectedFaults.
    faults_planned: int = 0
    faults_injected: int = 0
    #: What did not go as a fault intended, or as it should.
    oddities: tuple[str, ...] = ()
    #: Requests that the proxy answered 503: when, and by which process.
    turned_away: tuple[tuple[float, int | None], ...] = ()
    #: Crashes after which an image may be given up.
    max_attempts: int = 3
    #: By name, seconds that something took, and that it may take.
    timed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
