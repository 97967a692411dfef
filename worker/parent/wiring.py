"""The one place that says what a worker's parent process and a housekeeper are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from celery import Celery

from shared.archive.zip_reader import ArchiveLimits
from shared.chores.port import ChoreKind
from shared.net.url_policy import AllowedHosts
from shared.networks import Network
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.tracing import Tracer
from shared.observability.tracing_setup import make_tracer
from shared.settings import Settings
from shared.tickets import CeleryTickets
from worker.chores.expand import ArchiveExpander
from worker.chores.gathering import Gathering
from worker.chores.listing import SourceLister
from worker.chores.runner import ChoreHandler, ChoreRunner
from worker.chores.tracing import trace_chores
from worker.chores.webhooks import ANSWER, DeliverMessage, NotifyWebhook, WebhookSender
from worker.outbound_http import Outbound
from worker.parent.expiry import Expirer
from worker.parent.maintenance import Maintenance
from worker.parent.recovery import Recoverer
from worker.parent.threads import MaintenanceThreads
from worker.stores import SERVICE, Stores, connect_stores, process_name
from worker.supervision.alive_file import AliveFile
from worker.supervision.breaker import Breaker
from worker.supervision.periodic import PERIOD, PeriodicThread
from worker.supervision.shared_memory import breakers, draining, heartbeat_slots

#: Seconds between looks at a store that is away, at jobs that have ended, and for chores.
_PROBE, _FINISH, _CHORES = 0.1, 0.2, 0.5
#: The least seconds without a heartbeat after which a child is killed.
_LEAST_SILENCE = 5.0
#: Threads that gather images, and that call webhooks: a long listing or a slow receiver must not block
#: all the others.
_GATHERERS, _SENDERS = 2, 3

#: Threads that need Redis alone, and threads that need S3 too.
_REDIS, _BOTH = (breakers.jobs,), (breakers.jobs, breakers.objects)


def make_threads(
    app: Celery, settings: Settings, slots: int, served: Iterable[Network]
) -> MaintenanceThreads:
    """Make the threads of a worker with so many children and these networks. They begin with `start`."""
    silence = max(settings.lease_seconds, _LEAST_SILENCE)
    heartbeats = _thread("heartbeats", lambda: heartbeat_slots.kill_silent(silence), needs=())
    models = {network.name: network.cost for network in served}
    return _make_threads(app, settings, slots, models, beside=[heartbeats])


def make_housekeeping_threads(app: Celery, settings: Settings) -> MaintenanceThreads:
    """Make the threads of a process that only does maintenance. They begin with `start`."""
    return _make_threads(app, settings, 0, {}, beside=[])


def _make_threads(
    app: Celery, settings: Settings, slots: int, models: Mapping[str, float], *, beside: list[PeriodicThread]
) -> MaintenanceThreads:
    stores, tracer = connect_stores(settings), make_tracer(SERVICE)
    maintenance = Maintenance(
        name=process_name(),
        slots=slots,
        models=models,
        lease_images=settings.lease_images,
        lease_seconds=settings.lease_seconds,
        jobs=stores.jobs,
        objects=stores.objects,
        tickets=CeleryTickets(app),
        chores=stores.chores,
        tracer=tracer,
    )
    threads = [
        *beside,
        _probing(stores),
        _maintaining(settings, maintenance),
        _thread("finalize", maintenance.finish_up, _FINISH, _BOTH),
        _thread("recovery", _recoverer(settings).recover, needs=_BOTH),
        *_expiry(settings, stores),
        *_chores(settings, stores, maintenance.top_up, tracer),
    ]
    return MaintenanceThreads(threads, maintenance=maintenance, jobs=stores.jobs, tracer=tracer)


def _thread(
    name: str, call: Callable[[], object], seconds: float = PERIOD, needs: tuple[Breaker, ...] = _REDIS
) -> PeriodicThread:
    return PeriodicThread(name, call, seconds, breakers=breakers, needs=needs)


def _probing(stores: Stores) -> PeriodicThread:
    def probe() -> None:
        breakers.jobs.probe(stores.jobs.ping)
        breakers.objects.probe(stores.objects.ping)

    return _thread("probe", probe, _PROBE, needs=())


def _maintaining(settings: Settings, maintenance: Maintenance) -> PeriodicThread:
    """Make the thread that maintains. It touches the file of liveness also while Redis is away."""
    touch = AliveFile(settings.alive_file).touch if settings.alive_file is not None else None
    return PeriodicThread("maintenance", maintenance.run, breakers=breakers, needs=_REDIS, on_turn=touch)


def _recoverer(settings: Settings) -> Recoverer:
    # It has stores of its own: see Recoverer.
    stores = connect_stores(settings)
    return Recoverer(
        name=process_name(),
        jobs=stores.jobs,
        objects=stores.objects,
        chores=stores.chores,
        retention_seconds=_retention_seconds(settings),
        draining=draining,
    )


def _expiry(settings: Settings, stores: Stores) -> list[PeriodicThread]:
    retention_seconds = _retention_seconds(settings)
    if retention_seconds is None:
        return []
    expirer = Expirer(
        name=process_name(),
        jobs=stores.jobs,
        objects=stores.objects,
        chores=stores.chores,
        retention_seconds=retention_seconds,
        draining=draining,
    )
    return [
        _thread("expiry", expirer.expire, expirer.pause, _BOTH),
        _thread("sweep", expirer.sweep, expirer.long_pause, _BOTH),
    ]


def _chores(
    settings: Settings, stores: Stores, wake_workers: Callable[[], object], tracer: Tracer
) -> list[PeriodicThread]:
    # This store retries by itself, so that one failed call does not fail a whole chore.
    patient = dataclasses.replace(stores, objects=S3ObjectStore.from_settings(settings))
    gatherers = trace_chores(_gatherers(settings, patient, wake_workers), stores.jobs, tracer)
    senders = trace_chores(_senders(settings, patient), stores.jobs, tracer)
    handlers = [gatherers] * _GATHERERS + [senders] * _SENDERS
    runners = [ChoreRunner(stores.chores, each, draining=draining) for each in handlers]
    return [
        _thread(f"chores {number}", runner.run_due, _CHORES, _BOTH) for number, runner in enumerate(runners)
    ]


def _gatherers(
    settings: Settings, stores: Stores, wake_workers: Callable[[], object]
) -> Mapping[ChoreKind, ChoreHandler]:
    objects = stores.objects
    expander = ArchiveExpander(objects, ArchiveLimits.from_settings(settings))
    lister = SourceLister(objects, buckets=settings.source_buckets, max_images=settings.max_job_images)
    gather = {ChoreKind.EXPAND: expander.expand_all, ChoreKind.LIST: lister.list_all}
    return {
        kind: Gathering(jobs=stores.jobs, objects=objects, wake_workers=wake_workers, gather=how)
        for kind, how in gather.items()
    }


def _senders(settings: Settings, stores: Stores) -> Mapping[ChoreKind, ChoreHandler]:
    outbound = Outbound(allowed=AllowedHosts.of(settings.source_hosts), seconds=ANSWER)
    sender = WebhookSender(outbound=outbound, secrets=settings.webhook_secrets)
    return {
        ChoreKind.NOTIFY: NotifyWebhook(stores.jobs, stores.objects, stores.chores, sender),
        ChoreKind.DELIVER: DeliverMessage(stores.jobs, stores.objects, stores.chores, sender),
    }


def _retention_seconds(settings: Settings) -> float | None:
    return settings.retention_hours * 3600 if settings.retention_hours else None
