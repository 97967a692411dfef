"""The one Celery task: a ticket to work. It carries nothing; the job store says what to do."""

from __future__ import annotations

import logging
from functools import cache

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from shared.settings import Settings
from shared.tickets import WORK, CeleryTickets
from worker.backoff import INFRASTRUCTURE
from worker.lifecycle import draining
from worker.model.engines import load_engine
from worker.pipeline.memory import bound_malloc
from worker.pipeline.pipeline import Pipeline
from worker.wiring import connect_stores, process_name
from worker.work import Child, Pace

logger = logging.getLogger(__name__)

#: Seconds within which a ticket may begin new leases. With the overtime and the longest that one
#: image may take, it stays inside the ticket's soft limit: that limit must not hit an innocent image.
SHIFT = 20.0


@shared_task(name=WORK, max_retries=2, default_retry_delay=5)  # type: ignore[untyped-decorator]  # Celery ships no types.
def work() -> None:
    """Work off leases for a while; leave another ticket if work remains."""
    try:
        if child().work(SHIFT):
            pass_on()
    except INFRASTRUCTURE as exc:
        # No ticket is passed on: the housekeeper issues new ones once the stores are back.
        logger.warning("Stopped working: %s", exc.message, extra={"action": "work", "code": exc.code})
    except SoftTimeLimitExceeded:
        logger.warning("A ticket took too long.", extra={"action": "work"})


@cache
def child() -> Child:
    """Return this process's child, made at its first ticket: never before the fork."""
    bound_malloc()
    settings = Settings.from_environ()
    engine = load_engine(settings)
    stores = connect_stores(settings)
    return Child(
        name=process_name(),
        jobs=stores.jobs,
        objects=stores.objects,
        pipeline=Pipeline.from_settings(engine, settings),
        pace=Pace(lease=settings.lease_seconds, image=settings.image_seconds),
        lease_images=settings.lease_images,
        max_image_bytes=settings.max_image_bytes,
        draining=draining,
    )


def pass_on() -> None:
    """Publish another ticket, unless one waits already."""
    tickets = CeleryTickets(work.app)
    if tickets.depth() == 0:
        tickets.publish(1)
