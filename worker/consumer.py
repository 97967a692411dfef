"""Celery's consumer, but it waits for Redis with short pauses and logs less."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

logger = logging.getLogger(__name__)

#: Pauses between attempts to reach the broker, in seconds: the first, the step, the longest. Celery's own
#: grow to thirty, so a worker would stay idle although Redis is back.
FIRST, STEP, LONGEST = 0.5, 0.5, 2.0


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types.
    """Reconnects within two seconds of the broker's return, and logs nothing while it waits."""

    def ensure_connected(self, conn: Any) -> Any:
        connected = conn.ensure_connection(
            _note_failure,
            max_retries=None,
            interval_start=FIRST,
            interval_step=STEP,
            interval_max=LONGEST,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return connected


def _note_failure(exc: Exception, interval: float) -> None:
    # The worker's breaker logs when Redis goes away and when it comes back.
    logger.debug("The broker is away: %s", exc, extra={"action": "connect_broker"})
