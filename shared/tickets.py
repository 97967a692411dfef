"""Tickets: Celery messages that wake workers and carry nothing.

Redis holds the truth about jobs, so a ticket may be lost, which only delays work until the
next top-up, or delivered twice, since the second one finds nothing to lease. Each network has a queue of its
own, so that a ticket wakes a worker that serves it.
"""

from __future__ import annotations

from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError

from shared.errors import JobStoreFull, JobStoreUnavailable
from shared.jobs import cost
from shared.networks import MIDAS_SMALL
from shared.redis.broker import describe_broker
from shared.redis.client import is_out_of_memory, redis_errors
from shared.settings import Settings

WORK = "worker.tasks.work"
#: The queue of the default network.
QUEUE = "fathom"

#: For so many seconds a child may work on one ticket, if it cannot publish another.
LONGEST = 1800
#: If a ticket takes longer than that and the longest image together, Celery asks the child to stop after
#: so many more seconds, and kills it after as many again. This is a last resort: workers keep the time.
SOFT_LIMIT, HARD_LIMIT = 30, 30


def queue_of(model: str) -> str:
    """Return the name of the queue that wakes workers which serve a network."""
    return QUEUE if model == MIDAS_SMALL.name else f"{QUEUE}.{model}"


def create_celery_app(settings: Settings) -> Celery:
    """Return a Celery app for the ticket queue; it connects when first used."""
    longest = LONGEST + cost.HIGHEST * settings.image_seconds
    broker = describe_broker(settings.broker_at)
    app = Celery("fathom", broker=broker.url, set_as_current=True)
    app.conf.update(
        broker_use_ssl=broker.tls,
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_ignore_result=True,
        task_soft_time_limit=longest + SOFT_LIMIT,
        task_time_limit=longest + SOFT_LIMIT + HARD_LIMIT,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # On a second stop signal, wait this long for children; they have released their leases by then.
        worker_soft_shutdown_timeout=3,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker may refuse a command, for example without memory; the worker must survive that.
        broker_channel_error_retry=True,
        broker_transport_options={
            "visibility_timeout": 600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # Tickets are all alike, so the queue needs no priorities and only one list.
            "priority_steps": [0],
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            **broker.transport_options,
        },
    )
    return app


class CeleryTickets:
    """The ticket queue, on Celery."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, count: int, model: str = MIDAS_SMALL.name) -> None:
        """Publish `count` tickets for a network over one connection.

        Raises JobStoreUnavailable if the broker does not take them, and JobStoreFull if it
        is out of memory.
        """
        try:
            with redis_errors(), self._app.producer_or_acquire() as producer:
                for _ in range(count):
                    self._app.send_task(WORK, queue=queue_of(model), producer=producer, retry=False)
        except (OperationalError, OSError) as exc:
            if is_out_of_memory(exc.__cause__):
                raise JobStoreFull from exc
            raise JobStoreUnavailable("The ticket queue (Redis) cannot be reached.") from exc

    def depth(self, model: str = MIDAS_SMALL.name) -> int:
        """Return how many tickets of a network wait; those that workers hold do not count.

        Raises JobStoreUnavailable if the broker does not answer.
        """
        try:
            with redis_errors(), self._app.connection_or_acquire() as connection:
                # Declaring a queue that exists changes nothing and returns its length.
                declared = connection.default_channel.queue_declare(queue=queue_of(model), durable=True)
                return int(declared.message_count)
        except (OperationalError, OSError, *self._app.connection().connection_errors) as exc:
            raise JobStoreUnavailable("The ticket queue (Redis) cannot be reached.") from exc


def connect_tickets(settings: Settings) -> CeleryTickets:
    """Return the ticket queue for a process that is no worker."""
    return CeleryTickets(create_celery_app(settings))


class TicketQueue(Protocol):
    """Wakes workers. A ticket carries nothing: a lost one costs latency, an extra one does nothing."""

    def publish(self, count: int, model: str = MIDAS_SMALL.name) -> None:
        """Publish `count` tickets for a network. Raises JobStoreUnavailable if the broker is away."""

    def depth(self, model: str = MIDAS_SMALL.name) -> int:
        """Return how many tickets of a network wait."""
