"""The port of the numbers that all processes count together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shared.metrics.model import MetricsBatch, Summary


class Statistics(Protocol):
    """How long things took, over all processes. Every method may raise JobStoreUnavailable."""

    def add(self, batch: MetricsBatch) -> None:
        """Add what a process measured. May be repeated: a batch counts once."""

    def read(self, workers: Iterable[str]) -> Summary:
        """Return all that was added, and of the workers named how many images each has ended."""
