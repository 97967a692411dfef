"""The threads of a worker's parent process, started and stopped together."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared.jobstore.port import JobStore
from shared.observability.tracing import Tracer
from worker.parent.maintenance import Maintenance
from worker.supervision.breaker import STORE_ERRORS
from worker.supervision.periodic import PeriodicThread
from worker.supervision.shared_memory import heartbeat_slots

logger = logging.getLogger(__name__)


class MaintenanceThreads:
    """Every thread of a worker's parent process, or of a housekeeper; `worker.parent.wiring` says which."""

    def __init__(
        self, threads: Sequence[PeriodicThread], *, maintenance: Maintenance, jobs: JobStore, tracer: Tracer
    ) -> None:
        self._threads = threads
        self._maintenance = maintenance
        self._jobs = jobs
        self._tracer = tracer
        self._stopped = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop all threads, give back the leases of killed children, and unregister. Repeating it is fine."""
        if self._stopped:
            return
        self._stopped = True
        for thread in self._threads:
            thread.ask_to_stop()
        try:
            for lease_id in heartbeat_slots.leases():
                self._jobs.give_back(lease_id)
            for thread in self._threads:
                thread.stop()
            self._maintenance.unregister()
        except STORE_ERRORS as exc:
            # The registration and the leases expire by themselves.
            logger.warning(
                "The worker could not unregister: %s", exc.message, extra={"action": "stop_worker"}
            )
        self._tracer.stop()
