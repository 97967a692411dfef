"""The port of the statistics that all processes share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shared.metrics.model import MetricsBatch, Summary


class Statistics(Protocol):
    """Durations and counts over all processes. Every method may raise JobStoreUnavailable."""

    def add(self, batch: MetricsBatch) -> None:
        """Add a batch. May be repeated: a batch counts once."""

    def read(self, workers: Iterable[str]) -> Summary:
        """Return all statistics, and how many images each of these workers has ended."""
