"""Run a ticket: work off leases for a while, then publish the next ticket."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded

from shared.errors import JobStoreFull
from shared.tickets import LONGEST, CeleryTickets
from worker.child.lease_loop import LeaseLoop
from worker.supervision.breaker import STORE_ERRORS
from worker.supervision.shared_memory import draining

logger = logging.getLogger(__name__)

#: Seconds within which a ticket may take new leases; then any child may continue.
TICKET_SECONDS = 20.0


def run_ticket(lease_loop: Callable[[], LeaseLoop]) -> None:
    """Work until the ticket's time is over or there is nothing to do."""
    until = time.monotonic() + LONGEST
    try:
        loop = lease_loop()
        # If no ticket can be published, nothing would wake another child: then this one continues.
        while loop.work(TICKET_SECONDS) and not publish_next(loop.model) and time.monotonic() < until:
            continue
    except STORE_ERRORS as exc:
        # No ticket is published: maintenance publishes new ones once the stores are back.
        logger.warning("Stopped working: %s", exc.message, extra={"action": "work", "code": exc.code})
    except SoftTimeLimitExceeded:
        logger.warning("A ticket took too long.", extra={"action": "work"})


def publish_next(model: str) -> bool:
    """Publish another ticket for a network, unless one waits already.

    Return False if the broker has no room for one.
    """
    tickets = CeleryTickets(current_app)
    try:
        if tickets.depth(model) == 0:
            tickets.publish(1, model)
    except JobStoreFull:
        return draining()
    return True
