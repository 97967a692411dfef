"""How long things take, over all processes: every process adds up its own, and tells it every few seconds.

A duration is counted into one of a few buckets of a histogram, so that what is kept does not grow with
what happens. Numbers may be lost with a process that is killed, or with Redis; nothing depends on them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Upper ends of the buckets, in seconds; one more bucket takes what lasted longer.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def bucket_of(seconds: float) -> int:
    """Return the index of the bucket that a duration falls into."""
    return bisect_left(BOUNDS, seconds)


class Family(StrEnum):
    """What is measured."""

    #: A step of an image's way through a worker; labelled with its name.
    STAGE = "stage"
    #: An HTTP request until its answer begins; labelled with route, method and status.
    REQUEST = "request"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One histogram: what is measured, and of which kind. No label may hold a tabulator."""

    family: Family
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Durations by bucket, each counted once, and their sum in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def cumulative(self) -> tuple[int, ...]:
        """Return how many lasted at most as long as each bound; all of them last."""
        total, sums = 0, []
        for count in self.counts:
            total += count
            sums.append(total)
        return tuple(sums)


@dataclass(frozen=True, kw_only=True)
class MetricsBatch:
    """What a process tells at a time. Told twice, it counts once: the id decides."""

    id: str
    #: Durations by series and bucket.
    counts: Mapping[tuple[Series, int], int]
    #: Sums by series, in microseconds.
    microseconds: Mapping[Series, int]
    #: Images ended, by the name of the worker that did.
    images: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All that was told."""

    histograms: Mapping[Series, Histogram]
    #: Images ended by each worker asked for.
    images: Mapping[str, int]
