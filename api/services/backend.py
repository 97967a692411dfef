"""What the handlers work with: the settings and the ports, put together once by the app factory."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from flask import Flask, current_app

from api.services.job_watcher import Watches
from api.services.manifest_cache import Manifests
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
    """The parts behind the front end; every use case takes what it needs of them."""

    settings: Settings
    jobs: JobStore
    objects: ObjectStore
    tickets: TicketQueue
    idempotency: DurableIdempotency
    chores: Chores
    manifests: Manifests
    watches: Watches
    statistics: Statistics
    #: Adds up what this process measures; whoever starts the process starts it.
    metrics_buffer: MetricsBuffer
    #: Traces requests; whoever ends the process stops it.
    tracer: Tracer
    #: One for every photo that somebody waits for on the line.
    depth_slots: BoundedSemaphore
    #: Threads that write to the object store while requests are still being received.
    senders: Executor
    #: Threads that ask the parts how they are.
    probes: Executor
    #: Threads that remove what was needed for an answer, once it has been sent.
    cleaners: Executor

    @property
    def controls(self) -> Controls:
        """What clients ask of jobs, carried out so that it outlives the job store."""
        return Controls(self.jobs, self.objects)


def attach(app: Flask, backend: Backend) -> None:
    """Give an app its backend."""
    app.extensions[_NAME] = backend


def backend_of(app: Flask) -> Backend:
    """Return the backend of an app."""
    return cast(Backend, app.extensions[_NAME])


def backend() -> Backend:
    """Return the backend of the app that handles the present request."""
    return backend_of(current_app)
