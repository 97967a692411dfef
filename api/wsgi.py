"""Entry point of the web server: `gunicorn -c python:api.server.gunicorn_conf api.wsgi:app`.

Every server process imports this module for itself, after the fork: connections and
threads do not survive one.
"""

from __future__ import annotations

import logging

from flask import Flask
from gunicorn.http.errors import ParseException

from api.app import create_app
from api.auth.exposure import believe_proxies
from api.middleware.errors import answer_broken_body
from api.middleware.rate_limits import make_limiter
from shared.chores.redis_store import RedisChores
from shared.errors import ObjectStoreDenied, Unavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.redis_store import RedisIdempotency
from shared.jobstore.redis_store import RedisJobStore
from shared.metrics.redis_store import RedisStatistics
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.logs import configure_logging
from shared.observability.redaction import secrets_of
from shared.observability.tracing_setup import make_tracer
from shared.redis.client import connect_redis, impatient_options
from shared.settings import Settings
from shared.tickets import connect_tickets

logger = logging.getLogger(__name__)


def build_app(settings: Settings) -> Flask:
    """Put the API together over the real Redis and S3, and make the bucket of a store that is new."""
    configure_logging(settings.log_level, settings.log_format, secrets=secrets_of(settings))
    client = connect_redis(settings.redis_url)
    jobs = RedisJobStore(
        client,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
    )
    objects = S3ObjectStore.from_settings(settings)
    make_bucket(objects)
    app = create_app(
        settings,
        jobs=jobs,
        objects=objects,
        tickets=connect_tickets(settings),
        idempotency=DurableIdempotency(RedisIdempotency(client), objects),
        statistics=RedisStatistics(client),
        chores=RedisChores(client),
        limiter=make_limiter(settings.redis_url, impatient_options()),
        tracer=make_tracer("fathom-api"),
        # What serves the app knows where it listens, and opens it if that is safe (`gunicorn_conf`).
        exposed=True,
    )
    believe_proxies(app, settings.trusted_proxies)
    # Gunicorn reads chunked bodies while the app asks for them, and raises its own errors there.
    app.register_error_handler(ParseException, answer_broken_body)
    return app


def make_bucket(objects: S3ObjectStore) -> None:
    """Create the bucket if it is missing; a store that is away or forbids it is no reason not to start."""
    try:
        objects.ensure_bucket()
    except (Unavailable, ObjectStoreDenied) as exc:
        logger.warning("The bucket was not looked after: %s", exc.message, extra={"action": "make_bucket"})


app = build_app(Settings.from_environ())
