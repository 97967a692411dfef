"""The settings, stores and threads that handlers work with. `api.app` builds it, once per process."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from flask import Flask, current_app

from api.services.job_watcher import JobWatcher
from api.services.manifest_cache import ManifestCache
from shared.chores.port import Chores
from shared.control import Controls
from shared.idempotency.durable_store import DurableIdempotency
from shared.jobstore.port import JobStore
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.port import Statistics
from shared.objectstore.port import ObjectStore
from shared.observability.tracing import Tracer
from shared.settings import Settings
from shared.tickets import TicketQueue

_NAME = "fathom"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The parts behind the routes; every use case takes what it needs."""

    settings: Settings
    jobs: JobStore
    objects: ObjectStore
    tickets: TicketQueue
    idempotency: DurableIdempotency
    chores: Chores
    manifests: ManifestCache
    watcher: JobWatcher
    statistics: Statistics
    #: Adds up what this process measures. The server starts and stops it.
    metrics_buffer: MetricsBuffer
    #: Traces requests. The server stops it.
    tracer: Tracer
    #: One for every `POST /v1/depth` that may wait at the same time.
    depth_slots: BoundedSemaphore
    #: Threads that write to the object store while a request is still being received.
    senders: Executor
    #: Threads that probe the stores.
    probes: Executor
    #: Threads that delete the job of a `POST /v1/depth` after its answer was sent.
    cleaners: Executor

    @property
    def controls(self) -> Controls:
        """What clients may do to jobs, recorded so that it survives a loss of the job store."""
        return Controls(self.jobs, self.objects)


def attach(app: Flask, backend: Backend) -> None:
    """Attach a backend to an app."""
    app.extensions[_NAME] = backend


def backend_of(app: Flask) -> Backend:
    """Return the backend of an app."""
    return cast(Backend, app.extensions[_NAME])


def backend() -> Backend:
    """Return the backend of the app that handles the present request."""
    return backend_of(current_app)
