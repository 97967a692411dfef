"""What the API process is made of: its real stores, its threads, and the routes over them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from flask import Flask
from flask_limiter import Limiter
from gunicorn.http.errors import ParseException

from api.auth.authenticate import Gate, attach_gate
from api.auth.authorize import admit, end_streams_with_key, identify
from api.auth.exposure import believe_proxies
from api.middleware.cors import register_cors
from api.middleware.errors import answer_broken_body, register_error_handlers
from api.middleware.rate_limits import make_limiter, register_limits
from api.middleware.request_log import register_context
from api.middleware.tracing import register_tracing
from api.openapi import routes as openapi
from api.routes import (
    depth,
    health,
    jobs,
    metrics,
    models,
    page,
    results,
    session,
    skipped,
    submissions,
    webhooks,
)
from api.services.backend import Backend, attach
from api.services.job_watcher import JobWatcher
from api.services.manifest_cache import ManifestCache
from shared.chores.port import Chores
from shared.chores.redis_store import RedisChores
from shared.errors import ObjectStoreDenied, Unavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.redis_store import RedisIdempotency
from shared.jobstore.port import JobStore
from shared.jobstore.redis_store import RedisJobStore
from shared.metrics.buffer import MetricsBuffer
from shared.metrics.port import Statistics
from shared.metrics.redis_store import RedisStatistics
from shared.objectstore.port import ObjectStore
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.logs import configure_logging
from shared.observability.redaction import secrets_of
from shared.observability.tracing import Tracer
from shared.observability.tracing_setup import make_tracer
from shared.redis.client import connect_redis, impatient_pool
from shared.settings import Settings
from shared.tickets import TicketQueue, connect_tickets

logger = logging.getLogger(__name__)

#: Threads that write photos to the object store, for all requests of a process.
_SENDERS = 8
_PROBES = 4
_CLEANERS = 2


def build_app(settings: Settings) -> Flask:
    """Return the API over the real Redis and S3; create the bucket if it is missing."""
    configure_logging(settings.log_level, settings.log_format, secrets=secrets_of(settings))
    client = connect_redis(settings.redis_url)
    objects = S3ObjectStore.from_settings(settings)
    _make_bucket(objects)
    app = create_app(
        settings,
        jobs=RedisJobStore(client, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts),
        objects=objects,
        tickets=connect_tickets(settings),
        idempotency=DurableIdempotency(RedisIdempotency(client), objects),
        statistics=RedisStatistics(client),
        chores=RedisChores(client),
        limiter=make_limiter("redis://", {"connection_pool": impatient_pool(settings.redis_url)}),
        tracer=make_tracer("fathom-api"),
    )
    believe_proxies(app, settings.trusted_proxies)
    # Gunicorn reads chunked bodies while the app asks for them, and raises its own errors there.
    app.register_error_handler(ParseException, answer_broken_body)
    return app


def create_app(
    settings: Settings,
    *,
    jobs: JobStore,
    objects: ObjectStore,
    tickets: TicketQueue,
    idempotency: DurableIdempotency,
    statistics: Statistics,
    chores: Chores,
    limiter: Limiter,
    tracer: Tracer,
) -> Flask:
    """Return the API over the given stores. It connects to nothing and starts no thread."""
    backend = Backend(
        settings=settings,
        jobs=jobs,
        objects=objects,
        tickets=tickets,
        idempotency=idempotency,
        chores=chores,
        manifests=ManifestCache(objects),
        statistics=statistics,
        metrics_buffer=MetricsBuffer(statistics),
        tracer=tracer,
        watcher=JobWatcher(jobs, limit=settings.max_streams),
        depth_slots=BoundedSemaphore(settings.max_depth_requests),
        senders=ThreadPoolExecutor(_SENDERS, thread_name_prefix="send"),
        probes=ThreadPoolExecutor(_PROBES, thread_name_prefix="probe"),
        cleaners=ThreadPoolExecutor(_CLEANERS, thread_name_prefix="clean"),
    )
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    attach(app, backend)
    attach_gate(app, Gate(objects, settings))
    _register_middleware(app, limiter, tracer)
    _register_blueprints(app)
    return app


def _make_bucket(objects: S3ObjectStore) -> None:
    """Create the bucket if it is missing. The API starts even if the store is away or forbids it."""
    try:
        objects.ensure_bucket()
    except (Unavailable, ObjectStoreDenied) as exc:
        logger.warning("The bucket was not checked: %s", exc.message, extra={"action": "make_bucket"})


def _register_middleware(app: Flask, limiter: Limiter, tracer: Tracer) -> None:
    """Register what surrounds every handler. Flask runs it in this order, and after a handler in reverse."""
    register_context(app)
    register_tracing(app, tracer)
    app.after_request(metrics.observe_request)
    register_error_handlers(app)
    register_cors(app)
    app.before_request(identify)
    register_limits(app, limiter)
    app.before_request(admit)
    app.after_request(end_streams_with_key)


def _register_blueprints(app: Flask) -> None:
    work = (submissions, skipped, webhooks, jobs, results, depth, models)
    for area in (*work, openapi, session, health, metrics, page):
        app.register_blueprint(area.blueprint)
