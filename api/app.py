"""The app factory: settings and ports in, a Flask app out; nothing is connected here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from flask import Flask
from flask_limiter import Limiter

from api.auth.authenticate import Gate, attach_gate
from api.auth.authorize import admit, end_streams_with_key, identify
from api.middleware.cors import register_cors
from api.middleware.errors import register_error_handlers
from api.middleware.rate_limits import make_limiter, register_limits
from api.middleware.request_log import register_context
from api.middleware.tracing import register_tracing
from api.openapi import routes as openapi
from api.routes import depth, health, jobs, metrics, page, results, session, skipped, submissions, webhooks
from api.services.backend import Backend, attach
from api.services.job_watcher import Watches
from api.services.manifest_cache import Manifests
from shared.chores.port import Chores
from shared.idempotency.durable_store import DurableIdempotency
from shared.jobstore.port import JobStore
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.port import Statistics
from shared.objectstore.port import ObjectStore
from shared.observability.tracing import OFF, Tracer
from shared.settings import Settings
from shared.tickets import TicketQueue

#: Threads that write photos to the object store, for all requests of a process.
_SENDERS = 8
_PROBES = 4
_CLEANERS = 2


def create_app(
    settings: Settings,
    *,
    jobs: JobStore,
    objects: ObjectStore,
    tickets: TicketQueue,
    idempotency: DurableIdempotency,
    statistics: Statistics,
    chores: Chores,
    limiter: Limiter | None = None,
    tracer: Tracer = OFF,
    exposed: bool = False,
) -> Flask:
    """Return the API over the given ports.

    `exposed` says that others than this machine's own programs may reach it. Without a
    `limiter` this process counts requests by itself.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    backend = Backend(
        settings=settings,
        jobs=jobs,
        objects=objects,
        tickets=tickets,
        idempotency=idempotency,
        chores=chores,
        manifests=Manifests(objects),
        statistics=statistics,
        metrics_buffer=MetricsBuffer(statistics),
        tracer=tracer,
        watches=Watches(jobs, limit=settings.max_streams),
        depth_slots=BoundedSemaphore(settings.max_depth_requests),
        senders=ThreadPoolExecutor(_SENDERS, thread_name_prefix="send"),
        probes=ThreadPoolExecutor(_PROBES, thread_name_prefix="probe"),
        cleaners=ThreadPoolExecutor(_CLEANERS, thread_name_prefix="clean"),
    )
    attach(app, backend)
    attach_gate(app, Gate(objects, settings, exposed=exposed))
    register_context(app)
    register_tracing(app, tracer)
    app.after_request(metrics.observe_request)
    register_error_handlers(app)
    register_cors(app)
    _register_gate(app, limiter or make_limiter(None, {}))
    _register_blueprints(app)
    return app


def _register_gate(app: Flask, limiter: Limiter) -> None:
    """Set up what comes before every handler: who asks, how often, and whether they may."""
    app.before_request(identify)
    register_limits(app, limiter)
    app.before_request(admit)
    app.after_request(end_streams_with_key)


def _register_blueprints(app: Flask) -> None:
    work = (submissions, skipped, webhooks, jobs, results, depth)
    for area in (*work, openapi, session, health, metrics, page):
        app.register_blueprint(area.blueprint)
