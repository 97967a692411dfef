"""How long things take, over all processes. Each process adds up its own numbers and sends them in batches.

A histogram counts durations in a few buckets, so its size does not grow. If a process is killed or Redis
is lost, numbers may be lost too; nothing depends on them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Upper bounds of the buckets, in seconds; one more bucket counts whatever took longer.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def bucket_of(seconds: float) -> int:
    """Return the index of the bucket that a duration falls into."""
    return bisect_left(BOUNDS, seconds)


class Family(StrEnum):
    """What is measured."""

    #: One step of an image in a worker, labelled with the step's name.
    STAGE = "stage"
    #: An HTTP request until its response begins, labelled with route, method and status.
    REQUEST = "request"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Identifies one histogram: what it measures, with which labels. No label may contain a tab."""

    family: Family
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """The number of durations in each bucket, and their sum in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def cumulative(self) -> tuple[int, ...]:
        """Return how many durations lie within each bound, and last how many there are."""
        total, sums = 0, []
        for count in self.counts:
            total += count
            sums.append(total)
        return tuple(sums)


@dataclass(frozen=True, kw_only=True)
class MetricsBatch:
    """What a process sends at once. A batch that is sent twice counts once, by its id."""

    id: str
    #: Durations by series and bucket.
    counts: Mapping[tuple[Series, int], int]
    #: Sums by series, in microseconds.
    microseconds: Mapping[Series, int]
    #: Images ended, by the worker's name.
    images: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The statistics of all processes."""

    histograms: Mapping[Series, Histogram]
    #: Images ended, for each worker that was asked for.
    images: Mapping[str, int]
