"""Celery's consumer, more patient and less talkative: Redis that is away is waited for."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

logger = logging.getLogger(__name__)

#: Pauses between tries to reach the broker, in seconds. Celery's own grow to thirty, for
#: which a worker would stand idle beside a Redis that is back.
FIRST, STEP, LONGEST = 0.5, 0.5, 2.0


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types.
    """Connects again within two seconds of the broker's return, and says nothing while it waits."""

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
    # The worker's breaker tells when Redis went away and when it came back.
    logger.debug("The broker is away: %s", exc, extra={"action": "connect_broker"})
