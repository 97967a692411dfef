"""What a child does with a ticket: it works a shift, and leaves a ticket for whoever comes next."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from billiard.process import current_process
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_shutdown

from shared.errors import JobStoreFull
from shared.metrics.buffer import MetricsBuffer
from shared.observability.tracing_setup import make_tracer
from shared.settings import Settings
from shared.tickets import LONGEST, CeleryTickets
from worker.child.image_sources import image_fetcher
from worker.child.lease_loop import Child, Pace
from worker.child.timing import StagedPipeline, TimedPipeline, record_transfers
from worker.child.tracing import Traces
from worker.model.engine import EngineInfo
from worker.model.engines import load_engine
from worker.pipeline.memory import bound_malloc
from worker.pipeline.simulated import pipeline_for
from worker.stores import SERVICE, connect_stores, process_name, worker_name
from worker.supervision.breaker import INFRASTRUCTURE
from worker.supervision.shared_memory import breakers, draining, stations

logger = logging.getLogger(__name__)

#: Seconds within which a ticket may begin new leases; then another child may be as well placed.
SHIFT = 20.0


def use_ticket(child: Callable[[], Child]) -> None:
    """Let this process's child work until its shift ends or there is nothing to do."""
    until = time.monotonic() + LONGEST
    try:
        # Without a ticket nobody would be woken: then this one is made to last.
        while child().work(SHIFT) and not pass_on() and time.monotonic() < until:
            continue
    except INFRASTRUCTURE as exc:
        # No ticket is passed on: the housekeeper issues new ones once the stores are back.
        logger.warning("Stopped working: %s", exc.message, extra={"action": "work", "code": exc.code})
    except SoftTimeLimitExceeded:
        logger.warning("A ticket took too long.", extra={"action": "work"})


def make_child(
    settings: Settings, *, wrap: Callable[[StagedPipeline], StagedPipeline] = lambda pipeline: pipeline
) -> Child:
    """Put a child together for this process; `wrap` may come between it and the pipeline."""
    bound_malloc()
    station = stations.station(current_process().index, memory_bytes=settings.child_memory_mb * 2**20)
    station.start()
    engine = load_engine(settings)
    stores = connect_stores(settings)
    metrics_buffer = MetricsBuffer(stores.statistics)
    metrics_buffer.start()
    objects = stores.objects.observed_by(record_transfers(metrics_buffer))
    pipeline = wrap(pipeline_for(engine, settings))
    return Child(
        name=process_name(),
        jobs=stores.jobs,
        objects=objects,
        pipeline=TimedPipeline(pipeline, metrics_buffer, worker=worker_name()),
        pace=Pace(lease=settings.lease_seconds, image=settings.image_seconds),
        lease_images=settings.lease_images,
        max_image_bytes=settings.max_image_bytes,
        draining=draining,
        breakers=breakers,
        station=station,
        images=image_fetcher(settings, objects, breakers.objects, draining),
        traces=_make_traces(engine.info, pipeline),
    )


def _make_traces(info: EngineInfo, pipeline: StagedPipeline) -> Traces:
    """Return what traces this process's work, and sends the last of it when the process is ended gently."""
    tracer = make_tracer(SERVICE)
    if tracer.is_on:
        worker_process_shutdown.connect(lambda **_: tracer.stop(), weak=False)
    facts = {"fathom.engine": info.engine, "fathom.precision": info.precision}
    return Traces(tracer, seconds=lambda: pipeline.seconds, facts=facts)


def pass_on() -> bool:
    """Publish another ticket, unless one waits already; False if the broker has no room for one."""
    tickets = CeleryTickets(current_app)
    try:
        if tickets.depth() == 0:
            tickets.publish(1)
    except JobStoreFull:
        return draining()
    return True
