"""The one Celery task: a ticket to work. It carries nothing; the job store says what to do."""

from __future__ import annotations

from functools import cache

from celery import shared_task

from shared.settings import Settings
from shared.tickets import WORK
from worker.child.lease_loop import Child
from worker.child.run_ticket import make_child, use_ticket


@shared_task(name=WORK, max_retries=2, default_retry_delay=5)  # type: ignore[untyped-decorator]  # Celery ships no types.
def work() -> None:
    """Work off leases for a while; leave another ticket if work remains."""
    use_ticket(child)


@cache
def child() -> Child:
    """Return this process's child, made at its first ticket: never before the fork."""
    return make_child(Settings.from_environ())
