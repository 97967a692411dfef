"""The one place that says what a child process is made of: settings in, a lease loop out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from billiard.process import current_process
from celery.signals import worker_process_shutdown

from shared.metrics.buffer import MetricsBuffer
from shared.net.url_policy import AllowedHosts
from shared.objectstore.port import ObjectStore
from shared.observability.tracing_setup import make_tracer
from shared.settings import Settings
from worker.child.fetch import Fetcher
from worker.child.lease_loop import LeaseLoop, Timeouts
from worker.child.model_pipelines import LoadedModel, ModelPipelines
from worker.child.timing import StagedPipeline, TimedPipeline, record_transfers
from worker.child.tracing import Traces
from worker.model.engines import load_engine
from worker.model.served import served_networks, settings_for
from worker.outbound_http import Outbound
from worker.pipeline.memory import bound_malloc
from worker.pipeline.simulated import pipeline_for
from worker.stores import SERVICE, connect_stores, process_name, worker_name
from worker.supervision.heartbeat import Heartbeat
from worker.supervision.shared_memory import breakers, draining, heartbeat_slots

T = TypeVar("T")


def make_lease_loop(
    settings: Settings, *, wrap: Callable[[StagedPipeline], StagedPipeline] = lambda pipeline: pipeline
) -> LeaseLoop:
    """Make this child's lease loop; `wrap` may put something between it and the pipeline."""
    bound_malloc()
    heartbeat = _start_heartbeat(settings)
    stores = connect_stores(settings)
    metrics_buffer = MetricsBuffer(stores.statistics)
    metrics_buffer.start()
    objects = stores.objects.observed_by(record_transfers(metrics_buffer))
    models = _make_pipelines(settings)
    # Before any lease: a child that cannot load its first network takes no work.
    models.prepare(next(iter(models.networks)))
    pipeline = wrap(models)
    timeouts = Timeouts(lease=settings.lease_seconds, image=settings.image_seconds)
    return LeaseLoop(
        name=process_name(),
        jobs=stores.jobs,
        objects=objects,
        fetcher=make_fetcher(settings, objects, timeouts.patience),
        pipeline=TimedPipeline(pipeline, metrics_buffer, worker=worker_name()),
        timeouts=timeouts,
        lease_images=settings.lease_images,
        draining=draining,
        breakers=breakers,
        heartbeat=heartbeat,
        traces=_make_traces(models),
        models=models.networks,
        load_model=models.prepare,
    )


def _make_pipelines(settings: Settings) -> ModelPipelines:
    served = {network.name: network for network in served_networks(settings)}

    def load(model: str) -> LoadedModel:
        own = settings_for(settings, served[model])
        engine = load_engine(own)
        return LoadedModel(pipeline=pipeline_for(engine, own), info=engine.info)

    return ModelPipelines(served, load, memory_mb=settings.child_memory_mb)


def make_fetcher(settings: Settings, objects: ObjectStore, patience: float) -> Fetcher:
    """Make what fetches images, from wherever the settings allow; it waits so long for our own S3."""

    def call_store(call: Callable[[], T], /) -> T:
        return breakers.objects.call(call, seconds=patience, give_up=draining)

    outbound = Outbound(allowed=AllowedHosts.of(settings.source_hosts), seconds=settings.source_seconds)
    return Fetcher(
        objects,
        # One byte more than is accepted shows the pipeline that there is too much, whatever the size.
        most_bytes=settings.max_image_bytes + 1,
        outbound=outbound if settings.url_sources else None,
        buckets=settings.source_buckets,
        call_store=call_store,
        draining=draining,
    )


def _start_heartbeat(settings: Settings) -> Heartbeat:
    memory_bytes = settings.child_memory_mb * 2**20
    heartbeat = heartbeat_slots.heartbeat(current_process().index, memory_bytes=memory_bytes)
    heartbeat.start()
    return heartbeat


def _make_traces(models: ModelPipelines) -> Traces:
    """Return what traces this process's work; it sends the last spans when Celery ends the process gently."""
    tracer = make_tracer(SERVICE)
    if tracer.is_on:
        worker_process_shutdown.connect(lambda **_: tracer.stop(), weak=False)
    return Traces(tracer, seconds=lambda: models.seconds, facts=lambda: models.facts)
