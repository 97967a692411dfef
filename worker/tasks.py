"""The one Celery task: a ticket. It carries nothing; the job store says what to do."""

from __future__ import annotations

from functools import cache

from celery import shared_task

from shared.settings import Settings
from shared.tickets import WORK
from worker.child.lease_loop import LeaseLoop
from worker.child.run_ticket import run_ticket
from worker.child.wiring import make_lease_loop


@shared_task(name=WORK, max_retries=2, default_retry_delay=5)  # type: ignore[untyped-decorator]  # Celery ships no types.
def work() -> None:
    """Work off leases for a while; publish another ticket if work remains."""
    run_ticket(lease_loop)


@cache
def lease_loop() -> LeaseLoop:
    """Return this process's lease loop, made at its first ticket: never before the fork."""
    return make_lease_loop(Settings.from_environ())
