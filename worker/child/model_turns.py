"""Which network a child serves next, if several have work."""

from __future__ import annotations

from collections.abc import Iterable

from shared.jobs.job import Lease


class ModelTurns:
    """Shares a child's time among networks, in proportion to the owners who wait for each.

    Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): what a network has cost counts by the
    owners who shared it, and one without work for a while takes part from now on, with nothing saved up.
    The job store shares each network's part among its owners; here one child decides for itself, so no call
    is needed.
    """

    def __init__(self, models: Iterable[str]) -> None:
        self._ends = dict.fromkeys(models, 0.0)
        self._now = 0.0

    def order(self) -> list[str]:
        """Return the networks, the one whose turn it is first."""
        return sorted(self._ends, key=lambda model: (self._start(model), self._ends[model]))

    def note(self, lease: Lease) -> None:
        """Count what a lease costs."""
        self._now = self._start(lease.model)
        self._ends[lease.model] = self._now + lease.cost * len(lease.indices) / lease.owners

    def drop(self, model: str) -> None:
        """Serve a network no more."""
        self._ends.pop(model, None)

    def _start(self, model: str) -> float:
        return max(self._now, self._ends.get(model, 0.0))
