"""Tickets: Celery messages that wake workers and carry nothing.

Redis holds the truth about jobs, so a ticket may be lost (that costs latency until
the next top-up) or delivered twice (the second finds nothing to lease).
"""

from __future__ import annotations

from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError

from shared.errors import JobStoreFull, JobStoreUnavailable
from shared.redis.client import is_out_of_memory, redis_errors
from shared.settings import Settings

WORK = "worker.tasks.work"
QUEUE = "fathom"

#: Seconds for which a child may go on with one ticket when it cannot leave another behind.
LONGEST = 1800
#: Seconds that a ticket may take beyond that and the longest an image may, before its child is asked to
#: stop; and after that, before it is killed. Both are a last resort: workers mind the time themselves.
SOFT_LIMIT, HARD_LIMIT = 30, 30


def create_celery_app(settings: Settings) -> Celery:
    """Return a Celery app for the ticket queue; it connects when first used."""
    app = Celery("fathom", broker=settings.redis_url, set_as_current=True)
    app.conf.update(
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_ignore_result=True,
        task_soft_time_limit=LONGEST + settings.image_seconds + SOFT_LIMIT,
        task_time_limit=LONGEST + settings.image_seconds + SOFT_LIMIT + HARD_LIMIT,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # On a second stop signal, wait this long for children; they have released their leases by then.
        worker_soft_shutdown_timeout=3,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that refuses a command, as one without memory does, is not a worker's end.
        broker_channel_error_retry=True,
        broker_transport_options={
            "visibility_timeout": 600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # One list for the queue: tickets are all alike, so priorities mean nothing.
            "priority_steps": [0],
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
        },
    )
    return app


class CeleryTickets:
    """The ticket queue as a Celery queue."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, count: int) -> None:
        """Publish `count` tickets over one connection.

        Raises JobStoreUnavailable if the broker does not take them, and JobStoreFull if it
        has no memory for them.
        """
        try:
            with redis_errors(), self._app.producer_or_acquire() as producer:
                for _ in range(count):
                    self._app.send_task(WORK, producer=producer, retry=False)
        except (OperationalError, OSError) as exc:
            if is_out_of_memory(exc.__cause__):
                raise JobStoreFull from exc
            raise JobStoreUnavailable("The ticket queue (Redis) cannot be reached.") from exc

    def depth(self) -> int:
        """Return how many tickets wait, not counting those in workers' hands.

        Raises JobStoreUnavailable if the broker does not answer.
        """
        try:
            with redis_errors(), self._app.connection_or_acquire() as connection:
                # Declaring a queue that is there changes nothing and tells its length.
                declared = connection.default_channel.queue_declare(queue=QUEUE, durable=True)
                return int(declared.message_count)
        except (OperationalError, OSError, *self._app.connection().connection_errors) as exc:
            raise JobStoreUnavailable("The ticket queue (Redis) cannot be reached.") from exc


def connect_tickets(settings: Settings) -> CeleryTickets:
    """Return the ticket queue for a process that is not a worker itself."""
    return CeleryTickets(create_celery_app(settings))


class TicketQueue(Protocol):
    """Wakes workers. A ticket carries nothing; a lost one costs latency, one too many is a no-op."""

    def publish(self, count: int) -> None:
        """Publish `count` tickets. Raises JobStoreUnavailable if the broker is away."""

    def depth(self) -> int:
        """Return how many tickets wait."""
